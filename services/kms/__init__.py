"""The key server: KMIP objects of one kind, symmetric keys, kept durably and wrapped.

- ``service``  the bus door: one handler per message        - ``core``   what each operation does
- ``states``   the KMIP state table, pure                   - ``access`` who may do what, pure
- ``store``    rows, tags and their SQL                     - ``master`` the server's own key
- ``audit``    the hash-chained trail                       - ``config`` identities and roles
- ``knobs``    none yet

A reply leaves after the commit that holds both the change and its audit rows. ``core`` knows
no bus, so a second door (TTLV over TLS) can stand on it.

Not built: attributes beyond those of ``KeyAttributes`` (names, groups, ``x-`` ones), dates in
the future that activate or deactivate by themselves, Register, rotation of the master key,
replication between servers.
"""
