"""Tasks of vCenter, one flow each, in the order of the documents' numbered lists.

- ``power``             power and unlock of one VM, in the VM's turn, and the check before every
  task on a VM
- ``vm_lifecycle``      VMs that enter and leave the inventory
- ``encrypt``           EncryptVm
- ``reconfigure``       reconfiguring a VM
- ``clone``             CloneVm
- ``snapshots``         CreateSnapshot, RemoveSnapshot, RevertToSnapshot, MarkAsTemplate,
  MarkAsVirtualMachine
- ``migrate``           MigrateVm, ReconfigVm, and the evacuation of a host
- ``relocate``          a VM that moves to another vCenter (MOB-07), at both of them
- ``relocate_outcome``  the end of a move to another vCenter, at the vCenter that has the VM
  (MOB-07)
- ``host``              hosts and their clusters
- ``providers``         key providers
- ``kmip_servers``      the KMIP servers of a provider
- ``vsan``              VsanClusterReconfig, RekeyEncryptedCluster, objects and disks
- ``keys``              keys on request
"""
