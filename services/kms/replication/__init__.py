"""Servers that keep the same keys.

- ``pair``            two servers; a change is answered when both have it (``sync-pair``)
- ``pair_state``      what one server of a pair stores about the other
- ``group``           servers that replicate after the answer (``async``, ``forward``)
- ``oplog``           logs of changes, and how far each server of a group has them
- ``standing``        how two servers of a group compare
- ``counters``, ``name_conflicts``  figures and reports for operators
- ``replicas``        keys as they travel between servers
- ``key_merge``       two servers' rows of one key become one
- ``checksums``       one number over all keys, by which two servers detect a difference
"""
