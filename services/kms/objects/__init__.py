"""The objects of a key server, and the requests about them.

- ``key_row``         one key as a key server stores it; the life of a key as a table of states
  (KMIP 1.4 section 3.22; STD-18); and attributes that no client sets one by one, because they
  follow from the row or from what this server does
- ``attributes``      which attributes there are, who may change them, and when
- ``algorithms``      the symmetric keys that are made and kept here (algorithms, lengths in bits
  and bytes), and the block cipher modes
- ``identifiers``     how new keys are named
- ``search``          which keys match a Locate, in SQL and in Python
- ``request_types``   requests and responses, named as in KMIP
- ``request_checks``  what is refused of a request before the store is read
- ``bulk_insert``     many rows in few statements
"""
