"""The trusted provider on a host: the host attests, and asks a Key Provider Service for keys
itself.

- ``state``           tokens and reports, in memory only: a reboot forgets them (B7)
- ``configuration``   the applied configuration, in the encrypted one (KPS-00)
- ``attestation``     an attestation, with one service after another
- ``keys``            making and unwrapping keys, with one service after another (KPS-06)
- ``admission``       whether an unattested host may power a VM on, pure
- ``power_on_check``  the same as a flow, which attests if there is no result yet
- ``health``          whether services serve this host
- ``retries``         repeats failed requests for keys
- ``reports``         the host's reports of its attestation, pure
- ``exports``         exports of a trusted host for an administrator

A key id of such a provider is the ciphertext of a Key Provider Service (KEY-02): vCenter and the
disk have nothing else of the key. vCenter takes no part in getting a key (TA-06).
"""
