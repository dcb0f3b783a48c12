"""The key server: KMIP objects of one kind, symmetric keys, kept durably and wrapped.

- ``service``     settings, store and doors of one server
- ``server_certificate``  what a server of a lab shows KMIP clients
- ``doors/``      the ways in: they prove the caller and turn messages into operations
- ``operations``  what the core is asked and answers, named as in KMIP
- ``core``        one message: what it writes, and what it is answered
- ``commits``     messages that come together: one transaction, and who must know before the answer
- ``reading``     messages that only read, when the audit of reads is ``buffered``
- ``kept``        rows of keys in memory for them    - ``unwritten``  their rows of the trail
- ``attribute_operations``, ``cipher_operations``, ``usage_operations``  the same of attributes, of
  data, and of how long and how much a key may be used
- ``drawing``     what a request needs of chance     - ``mint``  new keys, by it
- ``checking``    what is refused of a request as such
- ``batching``    a message of items with an outcome each    - ``portions``  a long one
- ``performing``  what each operation does     - ``work``    what one message writes
- ``describing``  of those the ones about attributes, and Locate
- ``dating``      of those what writes a state to which a date has led
- ``ciphering``   of those Encrypt and Decrypt, in the ``modes`` that are built
- ``at_once``     a Get that needs no wait, and a Create that needs no task
- ``making``      of those Create: keys that come together, written together
- ``giving``      of those Get: what it gives, and when it changes nothing
- ``wrapping``    which key wraps another one on its way out
- ``usage``       leases and limits           - ``rekeying``  the key that follows another
- ``attributes``  what each attribute may be, who may change it, and when; pure
- ``implied``     those of them that follow from a row, or from what the server does
- ``locating``    which keys have what is asked for, in SQL and in plain reading
- ``kinds``       algorithms and lengths       - ``keyrow``  one key as stored
- ``states``      the KMIP state table, pure   - ``access``  who may do what, pure
- ``store``       rows, tags and their SQL     - ``opening``  all of it checked at a start
- ``several``     many rows in few statements
- ``ring``        KEKs and the key of the tags, sealed by a root    - ``roots``  of which kinds
- ``master``      wraps and tags by them       - ``custody``  another KEK, another root
- ``identities``  who may come by KMIP, as stored
- ``admission``   who is at that door
- ``audit``       the hash-chained trail       - ``config``  identities and roles
- ``retention``   what is old of it goes, by a word       - ``cuts``  where it was cut
- ``rejections``  what clients are refused because an administrator says so
- ``refusals``    those that the trail tells of by their number
- ``ids``         how new keys are named
- ``oplog``       logs of changes, and what each server of a group has of them
- ``contents``    what all keys come to, by which two servers say that they differ
- ``tallies``     what a server of a group has counted for its operator
- ``replication`` what waits for the other server of a pair, and how that one stands
- ``merging``     two servers' rows of one key become one
- ``shared_names``  Names that two servers have given to two keys
- ``anchor``      how far the server has come, kept outside of the database
- ``knobs``       times of a pair, of a rotation, and of the audit

A reply leaves after the commit that holds both the change and its audit rows; that of a message
that only reads may leave before its rows are written (``reading``). The core and what
lies under it know no message of the bus and no byte of KMIP: two kinds of doors stand on it.

Not built: other objects than symmetric keys; the attribute Operation Policy Name; Archive;
ciphers other than AES in modes GCM, CBC and ECB.
"""
