"""Drivers for virtual time: one process, one seed, one history.

- ``loop``           the event loop: virtual nanoseconds, ends of lives, pauses
- ``ready_queue``    what the simulation's loop runs (tasks with serial numbers, and handles) and
  the order in which it runs ready steps
- ``wall``           refuses and records every attempt to leave the simulation
- ``trace``          the trace of a run
- ``bus``            (with ``images``, ``database``, ``datastore``, ``flaws``)  the ports
- ``clock_and_rng``  the Clock and Rng ports of the simulation
- ``disk``           a node's storage in memory
- ``streams``        connections in memory
- ``cores``          the processor cores of a machine that all nodes share
- ``gate``           a hook where calls of storage and TPM take effect
- ``world``          the simulated world
- ``runner``         runs of the simulation in processes of their own, forked from one with a
  single thread
- ``database``       databases in memory that belong to the simulated disk
"""
