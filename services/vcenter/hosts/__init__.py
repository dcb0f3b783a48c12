"""vCenter's hosts: connected, compared with the inventory, repaired.

Each object owns its marks: no field of one is changed by another module. Asking (requests on the
bus), deciding (pure) and telling (events, records, marks) are steps of their own.

- ``session``         one host: session, view, numbered commands, heartbeat, tries to connect
- ``sessions``        all of them, and what follows from what hosts say there
- ``registrations``   which hosts list which VMs, and when they said so
- ``whereabouts``     on which host a VM is that several list; pure
- ``disbelief``       what is not believed of what a host says of its VMs; pure
- ``reported_vms``    what a host's report of its VMs changes in the inventory; pure
- ``relocated_vms``   what of it is no news, of VMs that move between vCenters; pure
- ``moves``           VMs that go to another host of their cluster, and moves that were cut off
- ``need``            whether a view shows something that a pass would change; pure
- ``pass_queue``      which hosts want a pass of step B8, and how their last one ended
- ``gathered_passes`` asks for passes over the other hosts of a cluster, after a moment
- ``reconciliation``  asks for a pass over every host, each 300 s
- ``remediation``     the pass: look, plan, carry out, judge, commit
- ``plan``            what a pass does, in order, and which marks and events follow; pure
- ``mode``            the next step to a safe host; pure
- ``attestation``     looks at hosts' TPMs        - ``tpm_judgement`` what it makes of them; pure
- ``host_key``        the host key: made, fetched, delivered, renewed
- ``held_keys``       values of new keys from their making to their sending
- ``delivery``        keys on their way to a host
- ``availability``    vSphere HA: what its agents are told, and what they tell
- ``sharing``         new keys for the other hosts of a cluster, gathered for each host
- ``once_per_boot``   which events about a host were told in its present boot
- ``problems``        what hosts tell of themselves, as events (pure)

Made in this order, each knowing only earlier ones: ``PassQueue``, ``GatheredPasses``,
``OncePerBoot``, ``HostSessions``, ``HostKeys``, ``HeldKeys``, ``KeyDelivery``, ``Remediation``,
``KeySharing``, ``Reconciliation``.
"""
