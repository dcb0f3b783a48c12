"""Drivers for virtual time: one process, one seed, one history.

- ``loop``         the event loop: virtual nanoseconds, ends of lives, pauses
- ``order``        which ready step comes next
- ``tasks``        tasks with serial numbers, handles, the context of a life
- ``wall``         refuses and records every attempt to leave the simulation
- ``trace``        what happened, folded into one hash; the first difference of two runs
- ``normal_form``  the normal form of messages, records and answers, for the trace
- ``rng``, ``clock``, ``bus``, ``disk``  (with ``images``, ``database``, ``datastore``,
  ``flaws``)  the ports
- ``streams``      connections in memory
- ``cores``        the processor cores of a machine that all nodes share
- ``gate``         a hook where calls of storage and TPM take effect
- ``tpm``          a host's TPM behind that gate
- ``world``        joins the drivers into the lives of nodes
- ``runner``       runs in workers of their own; ``worker`` is their side
"""
