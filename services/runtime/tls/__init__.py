"""TLS connections between nodes: one implementation above both drivers of ``Streams``.

- ``endpoint``      one end of TLS without I/O: bytes in, bytes out (OpenSSL)
- ``lane``          one direction: in order, delayed by the rules of the link
- ``stream_rules``  the rules of the links between two nodes
- ``connection``    one end of a connection, with two lanes; the ``Stream`` of a service
- ``port``          ``Streams`` of a service: its listeners, its connections, canaries
- ``transport``     what a driver provides: how parts reach the other end

A driver (``real.streams``, ``sim.streams``) carries parts without looking into them.
"""
