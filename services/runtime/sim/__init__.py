"""Drivers for virtual time: one process, one seed, one history.

- ``loop``       the event loop: virtual nanoseconds, ends of lives, pauses
- ``order``      which of those that are ready comes next
- ``tasks``      tasks with serial numbers, handles, the context of a life
- ``wall``       what no step gets past: every way out is refused and recorded
- ``trace``      what happened, folded into one hash; the first difference of two runs
- ``said``       the normal form of what is said, which the trace folds too
- ``rng``, ``clock``, ``bus``, ``disk`` (with ``images``, ``database``, ``datastore``,
  ``flaws``)  the ports
- ``streams``    connections in memory
- ``gate``       what may stand where a call of storage or TPM takes effect
- ``tpm``        a host's TPM behind that gate
- ``world``      joins them into the lives of nodes
- ``runner``     runs in workers of their own   - ``worker``  their side of it
"""
