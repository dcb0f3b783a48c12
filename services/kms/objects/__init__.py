"""The objects of a key server, and the requests about them.

- ``key_row``         one key as stored        - ``states``      the KMIP state table
- ``attributes``      which attributes there are, who may change them, and when
- ``implied``         attributes that follow from a row, or from what the server does
- ``algorithms``      algorithms and lengths   - ``identifiers``  how new keys are named
- ``search``          which keys match a Locate, in SQL and in Python
- ``request_types``   requests and responses, named as in KMIP
- ``request_checks``  what is refused of a request before the store is read
- ``cipher_modes``    the AES modes that are built
- ``bulk_insert``     many rows in few statements
"""
