"""The key server: KMIP objects of one kind, symmetric keys, kept durably and wrapped.

- ``service``     settings, store and doors of one server
- ``doors/``      the ways in: they prove the caller and turn messages into operations
- ``operations``  what the core is asked and answers, named as in KMIP
- ``core``        one message: what it writes, and what it is answered
- ``commits``     messages that come together: one transaction, and who must know before the answer
- ``performing``  what each operation does     - ``work``    what one message writes
- ``states``      the KMIP state table, pure   - ``access``  who may do what, pure
- ``store``       rows, tags and their SQL     - ``master``  the server's own key
- ``audit``       the hash-chained trail       - ``config``  identities and roles
- ``refusals``    those that the trail tells of by their number
- ``replication`` what waits for the other server of a pair, and how that one stands
- ``merging``     two servers' rows of one key become one
- ``anchor``      how far the server has come, kept outside of the database
- ``knobs``       times of a pair

A reply leaves after the commit that holds both the change and its audit rows. The core and what
lies under it know no message of the bus, so that a second door (TTLV over TLS) can stand on it.

Not built: attributes beyond those of ``operations.Attributes`` (names, groups, ``x-`` ones),
dates in the future that activate or deactivate by themselves, Register, rotation of the master
key, modes of replication other than ``sync-pair``.
"""
