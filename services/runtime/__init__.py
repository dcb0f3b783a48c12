"""How a service lives: ports, drivers, node.

- ``ports``        Bus, Clock, Rng, Disk, Tpm: all that reaches the world
- ``incarnation``  one life of a node; ``NodeDown``
- ``service``      base class, ``serves`` marker, what a service is given
- ``agent``        the nodes of one process, as the lab commands them
- ``machine``      the power and the firmware set-up under a node
- ``turns``        queues in the order of acceptance
- ``node``         starts, serves, stops a service; admits requests; isolates its work
- ``bus``          the Bus port's one implementation, above a driver's ``wire``
- ``links``        rules of links (cut, loss, delay and others) in chains; epochs and leases
- ``streams``      the other half of the Bus port: connections under TLS
- ``tls``          its one implementation, above what a driver carries
- ``session``      numbered commands of one controller to one host
- ``store``        what outlives lives: a node's storage, the cluster's array
- ``rpc``          the one request multiplexer, of the data bus and of the control plane
- ``forking``      the one fork server: agents of a lab, workers of the simulation
- ``durable``      replaces a file of a disk: the old or the new, through any crash
- ``virtual_tpm``  the other half of the Tpm port: TPMs of virtual machines
- ``nv_counter``   a TPM's counter that numbers what is kept elsewhere
- ``seeded``       the one seeded generator: streams, fates and tokens by purpose
- ``stands``       event loops that stood still, counted
- ``ticks``        a clock's periods, for both drivers
- ``each``         the same for each of many hosts, with a bound
- ``sql``          rules for a service's SQL, and one shared commit; used by both drivers
- ``identity``     the signing key of a service, with its certificate
- ``own_certificate``  the certificate by which a node asks, or answers, by KMIP
- ``knobs``        what a knob says of itself, and those that several services read
- ``real``, ``sim`` the two drivers of each port   - ``tpm``  TPM devices behind the port
"""
