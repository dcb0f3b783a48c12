"""Drivers for real processes.

- ``bus``, ``connection``, ``nats_client``, ``pulse``  the wire to nats-server
- ``share``                how many requests one sender may send to one node in a second
- ``secured``, ``shared_offset``  what the wire and the clock need on another machine
- ``streams``              connections over Unix sockets, and over TCP to the outside
- ``whereabouts``          which nodes run on other machines, and how connections reach them
- ``clock``, ``rng``       the machine's clock in lab seconds; seeded choices, real tokens
- ``disk`` (with ``trees``, ``database``)  a node's storage as a folder
- ``datastore``            a cluster's array as a folder that many processes share
- ``locks``                exclusive file locks, which the end of a process releases
- ``standing``             a watchdog that reports a blocked event loop
- ``gathering``            work of one step of the loop that goes to a thread together
- ``boots``                the number of a node's lives, in two files
- ``files``                replaces plain files of the machine
- ``tpm_nv``               the permanent state of a TPM in a file
- ``tpm_maker``            certifies a lab's TPMs: one secret for all processes
- ``world``                joins the drivers into the lives of nodes
"""
