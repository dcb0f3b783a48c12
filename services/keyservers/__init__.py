"""The client of key servers: what a service asks of one, by bus or by KMIP, in the same words.

- ``client``    asks a server by its address, and answers as its bus endpoint would
- ``dialogue``  vCenter's sessions with one server: connections, order of messages, what it forgives
- ``session``   one connection: a message, and its answer
- ``address``   ``bus:NODE`` or ``kmip://HOST:PORT``
- ``refusals``  a Result Reason as an error of this lab

Used by vCenter, by hosts of an encrypted vSAN and by Key Provider Services, and without any lab by
``keystead kmip replay``. What vCenter says is in ``protocol.kmip.dialect``.
"""
