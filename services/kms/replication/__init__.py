"""Servers that keep the same keys.

- ``pair``            two servers; a change is answered when both have it (``sync-pair``)
- ``pair_state``      what one server of a pair remembers of the other
- ``group``           servers that replicate after the answer (``async``, ``forward``)
- ``oplog``           logs of changes, and how far each server of a group has them
- ``standing``        how two servers of a group compare
- ``counters``, ``name_conflicts``  what operators see
- ``replicas``        keys as they travel between servers
- ``key_merge``       two servers' rows of one key become one
- ``checksums``       one number over all keys, by which two servers find that they differ
"""
