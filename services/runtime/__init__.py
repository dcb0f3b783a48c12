"""How a service lives: ports, drivers, node.

- ``ports``              Bus, Clock, Rng, Disk, Tpm: the only way to the world
- ``streams``            second half of the Bus port: connections under TLS
- ``virtual_tpm``        second half of the Tpm port: TPMs of virtual machines
- ``real``, ``sim``      the two drivers of each port
- ``incarnation``        one life of a node; ``NodeDown``
- ``service``            base class, ``serves`` marker, and what a service gets
- ``node``               starts, serves, stops a service; admits requests; isolates its work
- ``machine``            the power and the firmware set-up under a node
- ``request_queues``     queues of a node's requests
- ``agent``              the nodes of one process, as the lab commands them
- ``bus``                the implementation of the Bus port, above a driver's ``wire``
- ``tls``                the implementation of ``streams``, above a driver's transport
- ``tpm``                TPM devices behind the port
- ``session``            numbered commands of one controller to one host
- ``store``              what outlives a life: a node's storage, the cluster's array
- ``forking``            the fork server: agents of a lab, workers of the simulation
- ``durable``            files of the Disk port that survive a crash
- ``sql``                rules for a service's SQL, and a commit shared by several calls
- ``seeded``             the seeded generator: streams, fates and tokens by purpose
- ``ticks``              periods of a clock, for both drivers
- ``each``               the same call for many items, with a bound on concurrency
- ``node_certificates``  keys and certificates of a node, in files of its own disk
- ``knobs``              the description of knobs, and the knobs of several services
- ``link_rules``         links
- ``multiplexer``        the request multiplexer of the data bus and of the control plane
- ``world``              what a driver provides for a node's lives
"""
