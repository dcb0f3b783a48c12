"""An ESXi host: measured boot, encrypted configuration, key cache, key persistence, VMs.

- ``service``             one handler for each message; those for copies and vTPMs are in
  ``vm_handlers``
- ``config``              what a host is installed with
- ``knobs``               what the product's documents leave open about it
- ``host``                the state of one life of the host, which all of these share
- ``boot``                the boot of a host (B0 to B9), step by step
- ``measured_boot``       what a boot measures into the TPM (step B1), as a pure function of what
  was booted
- ``crypto_manager``      keys, host key, mode and providers on command
- ``crypto_mode``         host encryption mode, pure
- ``dumps``               core dumps, encrypted under the host key
- ``vcenter_connection``  a host's connection to its vCenter
- ``access``              who may send what to a host, pure
- ``esxcli``              the grammar of ``esxcli`` on this host (which command a line is, and the
  help) and the form of its output, with and without ``--formatter``
- ``console``             what the commands of the console do

Decisions are in the files marked as pure; each begins with its table.

Kinds of records (ids and names only, never key bytes):
``boot.step`` step, text, ... · ``boot.stopped`` screen, reason · ``boot.no_archive`` boot ·
``boot.options_damaged`` · ``keys.loaded`` · ``keys.added`` · ``keys.removed`` ·
``keys.evicted`` provider, cached, stored · ``crypto.mode`` old, new · ``crypto.host_key`` ·
``persistence.enabled`` · ``persistence.unprotected`` ·
``keys.disproved`` keys · ``host_key.not_derived`` reason · ``native.tpm_required`` provider,
reason · ``provider.removed`` provider · ``persistence.disabled`` · ``recovery.rotated`` ·
``config.protection`` mode, pcrs ·
``config.saved`` why · ``config.torn`` rest · ``config.save_failed`` reason ·
``audit`` record (POL-05) ·
``dump.written`` dump, key, file · ``dump.removed`` · ``dump.rewrapped`` dump, key ·
``dump.left`` dump, reason · ``host.maintenance`` on · ``tpm.unusable`` reason · ``kernel.option`` ·
``esxcli.refused`` reason · ``session.opened`` ·
``trust.configured`` revision · ``trust.attested`` service · ``trust.refused`` service, reasons ·
``trust.unreachable`` service, reason · ``trust.no_key`` provider, error, reason ·
``trust.key_failed`` key, error, reason ·
``ha.configured`` on · ``ha.primary`` voters ·
``ha.follows`` primary · ``ha.host`` host, condition · ``ha.isolated`` isolated ·
``ha.isolation_response`` response · ``ha.restarted`` vm, host, of · ``ha.refused`` vm, host, tries,
last, error · ``ha.left`` vm, reason · ``ha.taken_over`` vm · ``ha.datastore`` reason ·
``uplink.failed`` request, error · ``intruder.claims`` vms · ``vm.created`` · ``vm.registered`` ·
``vm.unregistered`` ·
``vm.destroyed`` · ``vm.encrypted`` key · ``vm.recrypted`` key, old, deep · ``vm.decrypted`` ·
``vm.cloned`` source, recrypt, running · ``vm.clone_given_up`` · ``vm.template`` template ·
``vm.snapshot`` snapshot, files, memory · ``vm.snapshot_removed`` snapshot ·
``vm.reverted`` snapshot, power ·
``vm.disk_added`` disk, key · ``vm.disk_removed`` disk ·
``vm.powered`` power · ``vm.left_alone`` owner · ``vm.lock_kept`` reason · ``vm.vtpm`` present ·
``vm.refused`` command,
error, reason, missing · ``vm.unreadable`` reason · ``vm.untidy`` reason ·
``vm.guest_fault`` reason · ``vm.work_failed`` vm, reason ·
``vm.migration_prepared`` source, migration, encrypted · ``vm.migrated_in`` source, migration ·
``vm.migrated_out`` target, migration, gap_s, size · ``vm.migration_given_up`` migration ·
``vsan.keys`` keys, server · ``vsan.key_missing`` key, reason · ``vsan.kms_failed`` server, error ·
``vsan.mounted`` group · ``vsan.unmounted`` group, reason · ``vsan.disk`` group, disk, step ·
``vsan.applied`` encrypted, keks, generation · ``vsan.component`` object · ``vsan.rebuilt`` object ·
``vsan.certificate`` renewed · ``vsan.host_key_refused`` reason · ``vsan.disks_unusable`` reason
"""
