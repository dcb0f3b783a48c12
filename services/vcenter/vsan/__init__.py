"""Encrypted vSAN in vCenter: it distributes ids and profiles, and never a KEK (VSAN-01).

- ``rows``        the rows of the inventory
- ``handed``      the configuration for hosts, pure
- ``objects``     which objects are accessible, pure
- ``row_edits``   changes of that row
- ``conditions``  requirements of a change
- ``changes``     enable, disable, rekey
- ``new_keys``    creation of KEKs and host keys, by cluster or by disk group
- ``keeper``      continues changes, repairs hosts, checks health
- ``health``      the encryption tests

Kinds of records: ``vsan.change`` cluster, change, state · ``vsan.change_given_up`` cluster, reason
· ``vsan.waits`` cluster, reason · ``vsan.repaired`` host
"""
