"""Looking at a lab while it runs, and never changing it but for the guests' own disks and vTPMs.

- ``listing``     vCenter's long lists, read page by page
- ``look``        one look at every node, at the nodes' local consoles
- ``audit``       the key servers' audit trails, followed
- ``guests``      what each guest's disk must hold, and the challenges that prove it
- ``vtpms``       what each guest's virtual TPM has sealed, and the challenges that prove it
- ``last_looks``  what is read when a run ends: disks, acknowledged keys and VMs
- ``alarms``      what rings at vCenter when a run ends, beside what hosts say of its cause
- ``tpms``        the TPM under each host at its boots, read at the lab's side
- ``shown``       what vCenter shows at the end, beside what hosts say themselves
- ``states``      nodes, hosts and VMs, written down when they change
- ``groups``      how key servers stand that replicate after the answer, and whether they agree
- ``contents``    what they have, compared key by key
- ``values``      whether each key has one value, by fingerprints that nodes give at their consoles
- ``power``       what hosts did to the power of VMs, from their logs
- ``sessions``    which session of vCenter's each host obeys, heard on the bus
- ``remains``     what lies on a host's disk after its stored keys were removed
- ``vsan``        disk groups of an encrypted vSAN, and what lies on them
- ``vcenters``    which vCenter has a host, a VM or a cluster
- ``calls``       what key servers were asked for, found by key and by asker
- ``work``        how busy nodes with service times are, and how many requests wait
- ``recoveries``  boots of hosts: when their VMs ran again, and what was asked of key servers
"""
