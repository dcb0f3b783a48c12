"""Drivers for real processes.

- ``bus``, ``connection``, ``nats_client``, ``pulse``  the wire to nats-server
- ``share``                what one sender may ask of one node in a second
- ``secured``, ``shared_offset``  what the wire and the clock need on another machine
- ``streams``              connections over Unix sockets, and over TCP with what is outside
- ``whereabouts``          which nodes stand on other machines, and how connections reach them
- ``clock``, ``rng``       the machine's clock in lab seconds; seeded choices, real tokens
- ``disk`` (with ``trees``, ``database``)  a node's storage as a folder
- ``datastore``            a cluster's array as a folder that many processes share
- ``locks``                exclusive locks of files, which a killed process gives back
- ``standing``             a watchdog of an event loop that stands still
- ``gathering``            works of one step of the loop that go to a thread together
- ``boots``                the number of a node's lives, kept twice
- ``files``                replaces plain files of the machine
- ``tpm_nv``               the permanent state of a TPM in a file
- ``tpm_maker``            who certifies a lab's TPMs: one secret for all processes
- ``world``                joins them into the lives of nodes
"""
