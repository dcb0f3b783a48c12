"""Encrypted vSAN in vCenter: it hands out ids and profiles, and never a KEK (VSAN-01).

- ``rows``       what the inventory holds of it
- ``handed``     what hosts are told, pure      - ``objects``  which objects are accessible, pure
- ``row_edits``  changes of that row
- ``conditions`` what a change needs            - ``changes``  enable, disable, rekey
- ``new_keys``   KEKs and host keys are made, by cluster or by disk group
- ``keeper``     goes on with changes, repairs hosts, looks at health
- ``health``     the encryption tests

Kinds of records: ``vsan.change`` cluster, change, state ·
``vsan.change_given_up`` cluster, reason · ``vsan.waits`` cluster, reason · ``vsan.repaired`` host
"""
