"""The client of key servers, the same over the bus and over KMIP.

- ``client``    sends requests to a server by its address, and answers as the bus endpoint would
- ``dialogue``  vCenter's sessions with one server: connections, order of messages, ignored refusals
- ``session``   one connection: a message, and its answer
- ``address``   ``bus:NODE`` or ``kmip://HOST:PORT``
- ``refusals``  a Result Reason as an error of this lab

vCenter, hosts of an encrypted vSAN and Key Provider Services use it, and without any lab ``keystead
kmip replay``. vCenter's messages are in ``protocol.kmip.dialect``.
"""
