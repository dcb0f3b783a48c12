"""vCenter: inventory, key providers, keys for its hosts, and the marks on locked VMs.

- ``service``            thin handlers: permission and order of requests
- ``provider_handlers``  those for key providers and their keys
- ``vsan``               vSAN encryption of a cluster
- ``vcenter``            the CA that certifies virtual TPMs
- ``tasks``              one flow each: encrypt, power, vm, host, cluster, provider
- ``hosts``              sessions, step B8 (remediation), host key, modes, reconciliation
- ``providers``          the capability table of management types; standard and native providers
- ``authorization``      users, roles, and which task needs which privileges
- ``inventory``          clusters, hosts, VMs, providers, key *ids*; durable, with a view in memory
- ``trust``              Trust Authority: administered, and used by trusted clusters
- ``index``              values derived from the rows of the inventory, updated row by row instead
  of computed from all
- ``key_use``            the use of keys, as queries and edits of the inventory
- ``tables``             the tables of the inventory
- ``locks``              when a VM is marked locked: LOCK-01..07, pure
- ``client_info``        answers for clients; pure
- ``key_server_status``  the status of key servers as events and alarms
- ``provider_health``    the health of key providers
- ``events``             events with the product's ids
- ``placement``          the choice of a host for a new VM, for a VM that DRS starts, or for a VM
  whose host is evacuated; VMs that move to another host of their cluster, and how an interrupted
  move is completed
- ``timers``             timers of vCenter
- ``config``             settings of this node
- ``knobs``              behaviour that the documents leave open

Key values are never stored and never kept: they live in the local variables of one delivery. The
key derivation keys of native providers are stored, wrapped (``providers.native``).

Kinds of lines it records: ``task.begin`` / ``task.end`` (task, subject, outcome),
``host.connected`` / ``host.lost`` (host, boot or reason), ``host.attested`` (host, status,
reason), ``keys.pushed`` (host, provider, count, refused), ``keys.not_granted`` (key, reason),
``keys.evicted`` (host, provider, count),
``keys.released`` (host, count), ``providers.refused`` (host, reason),
``ha.not_configured`` (host, reason),
``remediation.incomplete`` (host, error), ``remediation.slow`` (host), ``host.safe`` /
``host.unsafe`` (host, key or reason), ``hostkey.created`` (scope, key), ``vm.locked`` /
``vm.unlocked`` (vm, host, event, keys), ``vm.keys_learned`` (vm, host, old, new),
``provider.contact`` (provider, server, reachable),
``provider.status`` (provider, status), ``reconcile.pass`` (hosts), ``inventory.save_failed``
(reason), ``vm.untidy`` / ``vm.relocation_open`` / ``vm.move_open`` (vm, reason).
"""
