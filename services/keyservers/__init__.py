"""The client of key servers, the same over the bus and over KMIP.

- ``client``         requests to a key server in the lab's messages, over the bus or over KMIP
- ``kmip_sessions``  vCenter's KMIP sessions with one key server
- ``address``        ``bus:NODE`` or ``kmip://HOST:PORT``

vCenter, hosts of an encrypted vSAN and Key Provider Services use it, and without any lab ``keystead
kmip replay``. vCenter's messages are in ``protocol.kmip.dialect``.
"""
