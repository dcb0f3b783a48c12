"""Observation of a lab while it runs. It changes nothing except the guests' own disks and vTPMs.

- ``listing``     vCenter's long lists, read page by page
- ``look``        one look at every node, through its local console
- ``audit``       follows the key servers' audit trails
- ``guests``      the expected content of each guest's disk, and the challenges that prove it
- ``vtpms``       the secrets sealed in virtual TPMs, and the challenges that prove them
- ``last_looks``  reads at the end of a run: disks, acknowledged keys and VMs
- ``alarms``      vCenter's alarms at the end of a run, and the hosts' own view of the causes
- ``tpms``        the TPM under each host at its boots, read in the lab's process
- ``shown``       what vCenter shows at the end, and the hosts' own view
- ``states``      states of nodes, hosts and VMs, recorded when they change
- ``groups``      the standing of replicating key servers, and whether they agree
- ``contents``    compares replicating key servers key by key
- ``values``      whether each key has one value, by fingerprints from the nodes' consoles
- ``power``       power changes of VMs, from the hosts' logs
- ``sessions``    the vCenter session that each host obeys, from the bus
- ``remains``     what is on a host's disk after its stored keys were removed
- ``vsan``        disk groups of an encrypted vSAN, and their content
- ``vcenters``    the vCenter of a host, a VM or a cluster
- ``calls``       requests to key servers, indexed by key and by client
- ``work``        the load of nodes with service times, and their queues
- ``recoveries``  boots of hosts: when their VMs ran again, and calls to key servers meanwhile
"""
