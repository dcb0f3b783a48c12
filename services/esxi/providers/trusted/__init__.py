"""The trusted provider on a host: it attests, and asks a Key Provider Service for keys itself.

- ``state``          tokens and reports, in memory only: a reboot forgets them (B7)
- ``configuration``  the applied configuration, in the encrypted one (KPS-00)
- ``attesting``      the flow of an attestation, with one service after the other
- ``keys``           making and unwrapping keys, with one service after the other (KPS-06)
- ``admission``      whether an unattested host may power a VM on, pure
- ``gate``           the same as a flow: it attests when there is nothing to judge by
- ``health``         whether services serve this host
- ``retrying``       what a host could not have, tried again
- ``telling``        what the host tells of all that, pure
- ``exports``        what an administrator takes from a trusted host

A key id of such a provider is the ciphertext of a Key Provider Service (KEY-02): vCenter and the
disk have nothing else of the key. vCenter is on no key's path (TA-06).
"""
