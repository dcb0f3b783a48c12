"""vSphere HA on a host: an agent that starts the VMs of a host that has failed (HA-01).

No vCenter takes part: it has handed the list of hosts out before, and hears of restarts after.

- ``records``     what the agents write on the datastore, pure
- ``folder``      reading and writing it: heartbeats, lists of protected VMs, owners
- ``election``    who of several hosts is primary, pure
- ``judgement``   what a silent host is: failed, isolated, partitioned, shut down; pure
- ``restarts``    which VM is tried when, and where; pure
- ``ownership``   a host drops a VM that another one has taken over
- ``restart``     the restart of one VM, at the host that does it
- ``handlers``    what vCenter and other agents ask
- ``agent``       the agent: votes, heartbeats, and what follows
- ``reports``     what vCenter is told of
- ``primary``     what the primary does besides: judges who is silent, and has VMs restarted
"""
