"""Drivers for real processes.

- ``bus``, ``connection``, ``nats_client``, ``ping_timer``  the wire to nats-server
- ``request_shares``        how many requests one sender may send to one node in a second
- ``broker_tls``, ``shared_offset``  what the wire and the clock need on another machine
- ``streams``               connections over Unix sockets, and over TCP to the outside
- ``gate_addresses``        which nodes run on other machines, and how connections reach them
- ``clock``, ``rng``        the machine's clock in lab seconds; seeded choices, real tokens
- ``disk`` (with ``image_folders``, ``database``)  a node's storage as a folder
- ``datastore``             a cluster's array as a folder that many processes share
- ``locks``                 exclusive file locks, which the end of a process releases
- ``watchdog``, ``blockages``  reports blocked event loops; counts them
- ``thread_batches``        work of one step of the loop that goes to a thread together
- ``boot_counter``          the number of a node's lives, in two files
- ``files``                 replaces plain files of the machine
- ``tpm_nv``                the permanent state of a TPM in a file
- ``tpm_maker``             certifies a lab's TPMs: one secret for all processes
- ``world``                 joins the drivers into the lives of nodes
"""
