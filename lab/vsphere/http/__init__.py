"""HTTP under TLS on loopback: listeners, routes, and the bounds of a request.

==================  =============================================================
``host_server``     the API of one host
``host_listening``  a listener for each host, open while it runs
``body``            the body of a request, bounded in size and time
``web``             HTTP: routes, cookies, limits
``listening``       the listener, under TLS of a certificate authority of the lab
``client_link``     the link of clients to a server, with the faults of the lab
``bounded_head``    HTTP whose heads are bounded in size and in time
``single_write``    HTTP over such a link, whose small answers leave in one write
==================  =============================================================
"""
