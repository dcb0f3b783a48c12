"""vSphere HA on a host: an agent that starts the VMs of a host that has failed (HA-01).

No vCenter takes part: it distributes the list of hosts before, and learns of restarts afterwards.

- ``records``         what the agents write on the datastore, pure
- ``folder``          heartbeats, lists of protected VMs and owners on the datastore
- ``election``        which of several hosts is primary, pure
- ``host_condition``  the condition of a silent host: failed, isolated, partitioned, shut down; pure
- ``restart_plan``    which VM is tried when, and where; pure
- ``ownership``       a host drops a VM that another host has taken over
- ``restart``         the restart of one VM, at the host that does it
- ``handlers``        handlers of requests of vCenter and other agents
- ``agent``           the agent: votes, heartbeats, and what follows from them
- ``reports``         incidents that vCenter is told of
- ``primary``         the further work of the primary: it judges silent hosts, and has VMs restarted
"""
