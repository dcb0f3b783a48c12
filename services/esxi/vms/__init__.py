"""Virtual machines on one host: their files, their data, their power.

- ``vmx``            the configuration of a VM with its wrapped DEKs, pure
- ``power_file``     the last power command, and the VM's owner, pure
- ``files``          reading, writing and locking a VM's files on the shared datastore
- ``vm``             a registered VM, and its summary, pure
- ``registration``   which VMs are registered: created, registered, unregistered, destroyed
- ``encrypt``        encryption of a powered-off VM that a crash cannot leave half done
- ``recrypt``        other keys for it, or none, that a crash cannot leave half done
- ``disks``          adding and removing disks
- ``clone``          a whole copy of a VM, of which a crash leaves all or nothing
- ``snapshots``      earlier states of disks, virtual TPM and memory
- ``template``       VMs that are not powered on
- ``revert``         the way back to a snapshot
- ``power``          power on with its search for keys, and power off
- ``autostart``      step B9: a booted host starts the VMs that were running
- ``guest``          a running guest, which verifies its data
- ``memory``         the state that a running guest continues from, pure
- ``nvram``          the file of a VM's virtual TPM, under the home DEK, pure
- ``vmem``           the file of a snapshot's memory, under the home DEK, pure
- ``vtpm``           the virtual TPM of a running VM: durable before it is answered
- ``vtpm_device``    a virtual TPM as a device: added, certified, removed
- ``vtpm_commands``  what a guest does with it in one command
- ``workload``       the guests' own work in the background
"""
