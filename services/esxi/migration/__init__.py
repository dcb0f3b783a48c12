"""vMotion on a host: a running guest moves to another host of its cluster (MOB-01 to MOB-08).

- ``vmotion``  vMotion at both hosts (MOB-01 to MOB-08)
- ``state``    the migrations in which this host takes part

At no time do two hosts run the VM. The source writes an *offer* into the VM's configuration before
it releases the lock. The next host that takes the lock finds the offer and removes it: the target,
which resumes the guest; the source, which does so when the target has not; or a host that starts
the VM anew. So a migration has an outcome even if nobody learned of it. A host that fails in the
middle leaves a VM that runs on the other host, or one that can be started.
"""
