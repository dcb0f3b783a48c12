"""vCenter's hosts: connected, compared with the inventory, repaired.

Each object owns its fields: no other module changes them. Requests on the bus, decisions (pure),
and their effects (events, records, marks) are separate steps.

- ``session``         one host: session, view, numbered commands, heartbeat, reconnecting
- ``sessions``        all sessions, and the effects of what hosts report
- ``registrations``   which hosts list which VMs, and when they reported it
- ``whereabouts``     the host of a VM that several hosts list; pure
- ``disbelief``       which reports of a host about its VMs are not believed; pure
- ``reported_vms``    what a host's report of its VMs changes in the inventory; pure
- ``relocated_vms``   reports of VMs that move between vCenters; pure
- ``moves``           VMs that move to another host of their cluster, and interrupted moves
- ``need``            whether a view shows something that a pass would change; pure
- ``pass_queue``      which hosts need a pass of step B8, and how their last one ended
- ``gathered_passes`` requests passes over the other hosts of a cluster, after a moment
- ``reconciliation``  requests a pass over every host, each 300 s
- ``remediation``     the pass: look, plan, carry out, judge, commit
- ``plan``            what a pass does, in order, and which marks and events follow; pure
- ``mode``            the next step to a safe host; pure
- ``attestation``     attests hosts' TPMs; ``tpm_judgement`` decides the result; pure
- ``host_key``        the host key: created, fetched, delivered, renewed
- ``held_keys``       values of new keys between their creation and their delivery
- ``delivery``        fetches keys and delivers them to a host
- ``availability``    vSphere HA: the configuration of its agents, and their reports
- ``sharing``         new keys for the other hosts of a cluster, gathered per host
- ``once_per_boot``   which events about a host were raised in its present boot
- ``problems``        problems that hosts report, as events; pure

Created in this order, each knowing only earlier ones: ``PassQueue``, ``GatheredPasses``,
``OncePerBoot``, ``HostSessions``, ``HostKeys``, ``HeldKeys``, ``KeyDelivery``, ``Remediation``,
``KeySharing``, ``Reconciliation``.
"""
