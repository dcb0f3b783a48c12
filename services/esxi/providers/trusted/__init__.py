"""The trusted provider on a host: the host attests, and asks a Key Provider Service for keys
itself.

- ``attestation_state``  the state of a trusted host's attestation, in memory only; what the host
  reports about it; and whether an unattested host may power a VM on (ATT-06, C6, C7)
- ``keys``               keys of a trusted provider
- ``attestation``        attestation of a trusted host
- ``handlers``           handlers of a trusted host, for its vCenter and its administrator

A key id of such a provider is the ciphertext of a Key Provider Service (KEY-02): vCenter and the
disk have nothing else of the key. vCenter takes no part in getting a key (TA-06).
"""
