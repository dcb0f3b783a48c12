"""The protection of keys on the disk.

- ``key_ring``  the KEKs and the key of the tags, sealed by a root
- ``roots/``    the kinds of roots: a key file, a passphrase, a TPM
- ``vault``     wraps keys and tags rows with the ring
"""
