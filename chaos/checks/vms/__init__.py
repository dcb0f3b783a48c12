"""Checks of VMs: one host, one vCenter, one owner of the lock, and truthful guests.

Map:

- ``acked_vm_known``      a VM whose making was acknowledged is in vCenter's inventory at the end,
                          under its key
- ``guests_read_back``    no guest ever read back something else than what was written
- ``lock_given_back``     the lock of a VM is held by the host that runs it and by nobody else
- ``lock_told``           vCenter shows which VMs are locked, and its events tell of the begin and
                          end of each lock
- ``one_host_per_vm``     no two hosts run one VM
- ``one_vcenter_per_vm``  no VM is in the inventories of two vCenters at the end
- ``power_as_commanded``  the power of a VM changes once for each command, and for nothing else but
                          a boot of its host, at which VMs that were wanted start by themselves
                          (B9), an orderly end of one, at which all stop, and the end of the host
                          that ran it, after which the others of a cluster with HA restart it
                          (HA-01)
"""
