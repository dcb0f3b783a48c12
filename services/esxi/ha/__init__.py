"""vSphere HA on a host: an agent that starts the VMs of a host that has failed (HA-01).

No vCenter takes part: it distributes the list of hosts before, and learns of restarts afterwards.

- ``folder``   the HA agents' folder on the cluster's datastore
- ``agent``    the HA agent of a host
- ``primary``  the work of the HA primary
"""
