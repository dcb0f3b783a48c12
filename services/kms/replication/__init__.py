"""Servers that keep the same keys.

- ``pair``        two servers; a change is answered when both have it (``sync-pair``)
- ``pair_state``  what one server of a pair stores about the other
- ``group``       servers that replicate after the answer (``async``, ``forward``)
- ``oplog``       the logs of changes of a group's servers, how far each server has them, and
  counters of a server for its operator
- ``standing``    how two servers of a group compare
- ``replicas``    keys that travel between servers
- ``key_merge``   two servers' rows of one key become one
- ``checksums``   one number over all keys, by which two servers detect a difference
"""
