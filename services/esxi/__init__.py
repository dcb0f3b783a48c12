"""An ESXi host: measured boot, encrypted configuration, key cache, key persistence, VMs.

- ``service``    one handler per message          - ``config``      what it is installed with
- ``boot``       steps B0 to B9                   - ``measure``     what a boot measures, pure
- ``state``      the configuration, in sections   - ``archive``     its encrypted file, its writer
- ``sealing``    the config key and the TPM       - ``recovery``    the 96 digits
- ``keys``       the key cache                    - ``resolve``     where a key is looked for, pure
- ``persistence`` the stored keys, pure           - ``crypto_mode`` host encryption mode, pure
- ``crypto_manager`` keys and mode on command     - ``uplink``      the way to vCenter, sessions
- ``vm``         a VM's files and DEKs            - ``datastore_files`` reading and writing them
- ``inventory``  registered VMs                   - ``encrypt``     crash-safe encryption of one
- ``power``      power on, off, autostart         - ``guest``       a guest that verifies its data
- ``workload``   the guests' own work             - ``esxcli``      words and texts, pure
- ``console``    what the commands do             - ``host``        what all of these share

Decisions are in the files called pure; each opens with its table.

Kinds of records (ids and names only, never key bytes):
``boot.step`` step, text, ... · ``boot.stopped`` screen, reason · ``keys.loaded`` · ``keys.added``
· ``keys.removed`` · ``crypto.mode`` old, new · ``crypto.host_key`` · ``persistence.enabled`` ·
``persistence.disabled`` · ``recovery.rotated`` · ``config.protection`` mode, pcrs ·
``config.saved`` why · ``config.save_failed`` reason · ``audit`` record (POL-05) ·
``tpm.unusable`` reason · ``kernel.option`` · ``esxcli.refused`` reason · ``session.opened`` ·
``uplink.failed`` request, error · ``vm.created`` · ``vm.registered`` · ``vm.unregistered`` ·
``vm.destroyed`` · ``vm.encrypted`` key · ``vm.powered`` power · ``vm.refused`` command, error,
reason, missing · ``vm.unreadable`` reason · ``vm.untidy`` reason · ``vm.guest_fault`` reason

Not built: native and trusted key providers, vTPM, encrypted vSAN, core dumps, vMotion, HA, and
decrypting or re-encrypting a VM.
"""
