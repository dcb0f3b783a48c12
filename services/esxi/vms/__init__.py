"""Virtual machines on one host: their files, their data, their power.

- ``file_formats``  the content of a VM's files on the datastore
- ``files``         reading, writing and locking a VM's files on the shared datastore
- ``vm``            a registered VM, and its summary, pure
- ``registration``  which VMs are registered: created, registered, unregistered, destroyed
- ``reconfigure``   reconfiguring a VM at its host
- ``clone``         a whole copy of a VM at its host, made from files on the datastore (CLN-01),
  and templates
- ``snapshots``     snapshots of a VM at its host
- ``power``         power of VMs
- ``ownership``     owners of VMs, recorded with the last power command, with or without HA
- ``guest``         a running guest
- ``vtpm``          the virtual TPM of a running VM, and what a guest does with it in one command
"""
