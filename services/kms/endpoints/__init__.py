"""Endpoints of a key server; each proves the caller and turns messages into requests.

- ``kmip``            KMIP 1.0 to 1.4 in TTLV, over TLS
- ``bus``             requests on the data bus
- ``forwarding``      changes that a server forwards to the active server of its group (mode
  ``forward``)
- ``kmip_clients``    the clients of KMIP in memory, the console messages about them, and the
  self-signed certificate that a lab's key server shows them
- ``administration``  messages of an administrator about the key ring and its root
  (``custody.rotation``), and about requests that the key server rejects (``access.rejections``)
- ``replication``     the other servers of a pair or a group
"""
