"""TLS connections between nodes: one implementation above both drivers of ``Streams``.

``endpoint``    one end of TLS without any input or output: bytes in, bytes out (OpenSSL)
``lane``        what travels in one direction: in order, as late as the rules of a link have it
``way``         the rules of the links between two nodes
``connection``  one end of a connection: an endpoint between two lanes; the ``Stream`` of a service
``port``        ``Streams`` of a service: its listeners, its connections, canaries
``transport``   what a driver provides: how parts get to the other end

A driver (``real.streams``, ``sim.streams``) carries parts it does not look into.
"""
