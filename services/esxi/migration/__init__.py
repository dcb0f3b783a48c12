"""vMotion on a host: a running guest moves to another host of its cluster (MOB-01 to MOB-08).

- ``streams``   the memory cut into parts, each sealed, and what each is bound to; pure
- ``outgoing``  the source: send, stop, hand the VM's lock over, or take it back
- ``incoming``  the target: prepare, take the memory, go on with the guest
- ``state``     which migrations this host has a part in

At no time two hosts run the VM. The source writes an *offer* into the VM's configuration before it
gives the lock up; whoever takes the lock next finds it and takes it out: the target, which goes on
with the guest, the source, which does so when the target has not, or a host that starts the VM
anew. So a migration whose outcome nobody heard of has one all the same. A host that falls in the
midst leaves a VM that runs on the other one, or one that can be started.
"""
