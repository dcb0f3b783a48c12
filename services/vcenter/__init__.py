"""vCenter: inventory, key providers, the push of keys, and the marks on locked VMs.

- ``service``    thin handlers        - ``parts``   everything a flow may touch, made at start
- ``tasks``      one flow each: encrypt, power, vm, host, provider
- ``inventory``  clusters, hosts, VMs, providers, key *ids*; durable, with a view in memory
- ``rows``       what the inventory holds, and the tables    - ``views``  what clients are told
- ``events``     drafts of the product's events with their texts     - ``alarms``  pure
- ``connection`` session, heartbeat and back-off per host  - ``adopt``  what a host reports, pure
- ``push``       step B8: providers, host key, VM keys, locks, in that order
- ``hostkey``    making hosts safe, renewing the host key  - ``locks``  LOCK-01..07, pure
- ``host_mode``  the next step to a safe host, pure
- ``providers``  one protocol, three management types      - ``status`` QueryCryptoKeyStatus
- ``health``     contact with key servers                  - ``reconcile`` the periodic passes
- ``pulse``      a period that can be cut short            - ``config`` settings of this node
- ``knobs``      what the product's documents leave open about it

Key values are never stored and never kept: they live in the local variables of one push.

Kinds of lines it records: ``task.begin`` / ``task.end`` (task, subject, outcome),
``host.connected`` / ``host.lost`` (host, boot or reason), ``push.keys`` (host, provider, count,
refused), ``push.incomplete`` (host, error), ``push.evicted`` (host, provider, count),
``host.safe`` / ``host.unsafe`` (host, key or reason), ``hostkey.created`` (scope, key),
``vm.locked`` / ``vm.unlocked`` (vm, host, event, keys), ``provider.contact`` (provider, server,
reachable), ``provider.status`` (provider, status), ``reconcile.pass`` (hosts).
"""
