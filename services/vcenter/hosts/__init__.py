"""vCenter's hosts: connected, compared with the inventory, repaired.

Each object owns its fields: no other module changes them. Requests on the bus, decisions (pure),
and their effects (events, records, marks) are separate steps.

- ``session``       one host: session, view, numbered commands, heartbeat, reconnecting
- ``sessions``      the sessions with all hosts of the inventory, the effects of what hosts report
  in them, and the periodic repair of all connected hosts (STD-10)
- ``host_reports``  what a host's report means for the inventory
- ``pass_queue``    which hosts need a pass of step B8, in order of request; remediation takes from
  here
- ``remediation``   the pass: look, plan, carry out, judge, commit
- ``plan``          what a pass does, in order, and which marks and events follow; pure
- ``mode``          the next step to a safe host; pure
- ``attestation``   vCenter's own attestation of every host with a TPM, at each connection and on
  request (ATT-09)
- ``host_key``      the host key: created, fetched, delivered, renewed
- ``key_delivery``  keys on their way to hosts
- ``availability``  vSphere HA: the configuration of its agents, and their reports

Created in this order, each knowing only earlier ones: ``PassQueue``, ``GatheredPasses``,
``OncePerBoot``, ``HostSessions``, ``HostKeys``, ``HeldKeys``, ``KeyDelivery``, ``Remediation``,
``KeySharing``, ``Reconciliation``.
"""
