"""The keys at hand on a host, and where it looks for one that is not.

- ``cache``        the key cache, in memory only
- ``persistence``  the persisted store: what is stored when, pure
- ``resolve``      the order in which a host looks for a key, pure
- ``fingerprints`` which keys are where, told to a checker at the console
- ``status``       what a host says of its keys
- ``search``       that order as a flow over all keys that an object needs
"""
