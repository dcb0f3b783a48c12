"""The key server: KMIP objects of one kind, symmetric keys, kept durably and wrapped.

Folders, from the lowest to the highest; each imports only those above it in this list:

- ``sealing/``      the key ring, the roots that seal it, and the vault that wraps and tags with it
- ``objects/``      a key, its state and attributes, and the requests about it; mostly pure
- ``settings/``     the configuration and the knobs of a server
- ``access/``       roles, identities, and the rejections that an administrator has set
- ``audit/``        the hash-chained audit trail
- ``commit/``       the database: rows of keys, one message's changes, and group commit
- ``operations/``   what each request does, and ``core``, which runs it in a transaction
- ``replication/``  servers that keep the same keys: pairs and groups
- ``custody/``      the life of the database: opening, anchor, rotation, cutting the trail
- ``endpoints/``    the bus, KMIP and the console: they prove the caller and translate messages
- ``service``       one server, put together

A reply leaves after the commit that holds both the change and its audit rows; the reply to a
message that only reads may leave before its rows are written (``operations.buffered_reads``). The
folders below ``replication`` know no message of the bus and no byte of KMIP: two kinds of endpoints
use the same core.

Not built: other objects than symmetric keys; the attribute Operation Policy Name; Archive;
ciphers other than AES in modes GCM, CBC and ECB.
"""
