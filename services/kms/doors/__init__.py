"""The ways in to a key server; each proves the caller and turns messages into ``operations``.

- ``bus``      requests on the data bus, and from the console of the server itself
- ``attributes``  of it, what is about attributes, keys that are brought, and ciphers
- ``kmip``     KMIP's own bytes   - ``identities``  who may send them, said at the console
- ``rejections`` what is rejected, said at the console
- ``custody``  the administrator's, to root and KEKs
- ``pair``     the other server of a pair: what each tells the other, and when
- ``replicas`` keys on their way between the two, as rows and as messages
- ``group``    servers that replicate after the answer: what each tells the others, and when
- ``standing`` where two of them stand   - ``lines``  what one remembers of another
- ``group_view``  what an operator is told of them   - ``names``  of Names that several keys have
- ``learning`` how far a server has the others' logs, for who waits for a change
- ``forwarding``  of those the ones that hand changes on to the active one
- ``promises`` changes that are answered when the other has them, or is marked as down
"""
