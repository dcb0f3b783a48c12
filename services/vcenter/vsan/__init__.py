"""Encrypted vSAN in vCenter: it distributes ids and profiles, and never a KEK (VSAN-01).

- ``host_configuration``  the encryption configuration for the hosts of a cluster (VSAN-01)
- ``changes``             a change of a cluster's vSAN encryption (enable, disable, rekey, another
  provider)
- ``health``              the encryption tests of vSAN health (VSAN-14), for which vCenter and each
  host are asked now, and the periodic work

Kinds of records: ``vsan.change`` cluster, change, state · ``vsan.change_given_up`` cluster, reason
· ``vsan.waits`` cluster, reason · ``vsan.repaired`` host
"""
