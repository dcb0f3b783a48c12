"""TLS connections between nodes: one implementation above both drivers of ``Streams``.

- ``endpoint``    one end of TLS without I/O: bytes in, bytes out (OpenSSL)
- ``transport``   what a driver provides for connections (how parts get to the other end), and one
  direction of a connection
- ``connection``  one end of a connection
- ``port``        ``Streams`` of a service: its listeners, its connections, canaries

A driver (``real.streams``, ``sim.streams``) carries parts without looking into them.
"""
