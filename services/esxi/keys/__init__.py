"""The keys available on a host, and where it looks for a missing one.

- ``cache``         the key cache, in memory only
- ``persistence``   the persisted store: what is stored when, pure
- ``resolve``       the order in which a host looks for a key, pure
- ``fingerprints``  which keys are where, for checks at the console
- ``status``        the key status that a host reports
- ``search``        that order as a flow over all keys that an object needs
"""
