"""Observation of a lab while it runs. It changes nothing except the guests' own disks and vTPMs.

- ``look``        what is seen of a lab at one moment, by questions at local consoles only
- ``audit``       the key servers' audit trails, followed, and their calls found by key and by
  client
- ``guests``      what the engine knows of each guest's disk and virtual TPM, and the questions
  that it answers with it
- ``last_looks``  the last looks of a run, for the checks
- ``boots``       boots of hosts, watched
- ``states``      what nodes, hosts and VMs are, written down when it changes
- ``replicas``    key servers that replicate
- ``key_values``  where keys are
- ``sessions``    the vCenter session that each host obeys, from the bus
"""
