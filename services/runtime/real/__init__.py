"""Drivers for real processes.

- ``connection``            the wire to nats-server
- ``bus``                   the Bus port's driver for nats-server
- ``nats_client``           the client of nats-py, with the methods overridden that do not fit
  keystead
- ``broker_tls``, ``shared_offset``  what the wire and the clock need on another machine
- ``streams``               connections between processes of a lab
- ``clock_and_rng``         the Clock and Rng ports of real processes
- ``disk``                  (with ``image_folders``, ``database``)  a node's storage as a folder
- ``datastore``             a cluster's shared array as a folder that many processes of this
  machine use
- ``files``                 plain files of the machine, outside of any node's disk
- ``watchdog``              a watchdog of an event loop
- ``state_files``           files of a lab's state folder beside the disks of nodes
- ``world``                 joins the drivers into the lives of nodes
"""
