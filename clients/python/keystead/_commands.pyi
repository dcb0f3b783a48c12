"""A method for each command.

Generated: `python -m tests.clients.methods` in a checkout of keystead renews it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keystead import answers

class Commands:
    """Every command of a lab."""

    def alarm_acknowledge(self, host: str) -> answers.Host:
        """Acknowledge a host's recovery key alarm: the key is stored in a safe place.

        keystead alarm acknowledge esxi-001 -o json
        keystead alarm acknowledge esxi-001

        AcknowledgeAlarm [REC-03]. The alarm returns when the host has a new recovery key. All
        other alarms end with their cause.

        The answer is a ``Host``.
        """

    def chaos_play(self, run: str) -> answers.Verdict:
        """Play the plan of a prepared run folder of this machine; one run at a time.

        KS-CHAOS-102 while another one is being played.

        The answer is a ``Verdict``.
        """

    def chaos_stop(self, *, run: str | None = None) -> answers.RunStopped:
        """Stop a run or a load on a running lab, and heal the faults that it injected.

        keystead chaos stop -n edge
        keystead chaos stop load-lab-1 -n edge

        Use it for a run whose terminal was closed: the lab continues such a run. Its verdict
        is interrupted, exit code 130. KS-RUN-001 when no run of that name is active here.

        run: Name of the run. Default: the active run.
        The answer is a ``RunStopped``.
        """

    def cluster_crypto_mode(
        self,
        cluster: str,
        mode: Literal["forceEnable", "onDemand"],
        *,
        key: str | None = None,
        provider: str | None = None,
    ) -> answers.Cluster:
        """Set a cluster's encryption mode (SetCryptoMode): onDemand or forceEnable [HEM-05].

        keystead cluster crypto-mode cluster-a forceEnable
        keystead cluster crypto-mode cluster-a onDemand --provider second-provider

        forceEnable keeps all hosts safe; onDemand enables a host when an encryption task
        needs it.

        key: Host key of all hosts, as provider/id.
        provider: Key provider of a new host key. Default: the default provider.
        The answer is a ``Cluster``.
        """

    def cluster_default_provider(
        self, cluster: str, *, provider: str | None = None
    ) -> answers.Cluster:
        """Set a cluster's default key provider; without a name, vCenter's default [STD-02].

        keystead cluster default-provider cluster-a second
        keystead cluster default-provider cluster-a

        provider: Key provider. Default: vCenter's default.
        The answer is a ``Cluster``.
        """

    def cluster_set_drs(
        self, cluster: str, drs: Literal["fullyAutomated", "manual", "off", "partiallyAutomated"]
    ) -> answers.Cluster:
        """Set the DRS automation level of a cluster [HA-03].

        keystead cluster set-drs cluster-a fullyAutomated
        keystead cluster set-drs cluster-a off

        With an automated level, vCenter chooses the host when a VM is powered on.

        The answer is a ``Cluster``.
        """

    def cluster_set_ha(self, cluster: str, ha: Literal["off", "on"]) -> answers.Cluster:
        """Turn vSphere HA on or off: with HA, hosts restart the VMs of a failed host [HA-01].

        keystead cluster set-ha cluster-a on
        keystead cluster set-ha cluster-a off

        The answer is a ``Cluster``.
        """

    def describe_host(self, host: str) -> answers.HostDescription:
        """Describe a host: machine, TPM, key persistence, VMs, and the reasons for its state.

        keystead describe host esxi-001
        keystead describe host esxi-001 -o yaml

        The answer is a ``HostDescription``.
        """

    def describe_provider(self, provider: str) -> answers.ProviderDescription:
        """Describe a key provider: its servers, their state, and what prevents its use.

        keystead describe provider kms-provider
        keystead describe provider kms-provider -o json

        The answer is a ``ProviderDescription``.
        """

    def describe_vm(self, vm: str) -> answers.VmDescription:
        """Describe a VM: power, keys, and why it is locked or not, with the rule and the cure.

        keystead describe vm vm-01
        keystead describe vm vm-01 -o json

        The answer is a ``VmDescription``.
        """

    def esx(self, host: str, arguments: Sequence[str]) -> answers.EsxcliResult:
        """Run esxcli at a host's console; works while links are cut, not on a powered-off host.

        keystead esx esxi-001 system security keypersistence get
        keystead esx esxi-001 system security keypersistence enable

        The exit code is the exit code of esxcli.

        arguments: Arguments of esxcli.
        The answer is a ``EsxcliResult``.
        """

    def fault_inject(
        self,
        kind: str,
        *,
        values: Mapping[str, Any] | None = None,
        id: str | None = None,
        lease_s: float | None = None,
        seed: int | None = None,
    ) -> answers.Fault:
        """Inject a fault by hand: any kind of fault that experiment files can name.

        keystead fault proc.kill on=esxi-002
        keystead fault site.power_loss site=main stagger=30s

        `keystead explain faults` lists the kinds. Their names may be written with hyphens
        instead of underscores.

        kind: Kind of fault, as in experiment files: link.cut.
        values: Parameters as NAME=VALUE, as in an experiment file.
        id: Id of the fault. Default: derived from its kind.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        seed: Seed for random selectors, such as 25% of role:esxi.
        The answer is a ``Fault``.
        """

    def get_alarms(self) -> answers.AlarmList:
        """Active alarms of vCenter and their causes.

        keystead get alarms
        keystead get alarms -o json

        The answer is a ``AlarmList``.
        """

    def get_audit(self, *, kms: str | None = None) -> answers.AuditList:
        """Show a key server's audit trail: which client did what to which key.

        keystead kms audit
        keystead kms audit kms -o json

        kms: Key server; optional if the lab has only one.
        The answer is a ``AuditList``.
        """

    def get_clock(self) -> answers.LabClock:
        """The time of the lab, for programs: what its nodes stamp tasks and events with.

        The answer is a ``LabClock``.
        """

    def get_clusters(self) -> answers.ClusterList:
        """Clusters with their encryption mode, default key provider and host key.

        keystead get clusters
        keystead get clusters -o wide

        The answer is a ``ClusterList``.
        """

    def get_directory(self) -> answers.Directory:
        """The nodes and VMs of this lab, which the selectors of experiments are resolved
        against.

        The answer is a ``Directory``.
        """

    def get_events(
        self, *, after: int | None = None, limit: int | None = None
    ) -> answers.EventList:
        """vCenter's events with a number above ``after``, oldest first, at most ``limit``.

        An answer may have fewer events than the log: repeat with the last number until it is
        empty.

        The answer is a ``EventList``.
        """

    def get_faults(self) -> answers.FaultList:
        """Active faults, oldest first; times are lab seconds since the start of the lab.

        keystead get faults
        keystead get faults -o name

        The answer is a ``FaultList``.
        """

    def get_host_view(self, host: str) -> answers.HostView:
        """A host's view of itself, from its console; works while its links are cut.

        The answer is a ``HostView``.
        """

    def get_hosts(self) -> answers.HostList:
        """Hosts in vCenter's view, with the power state of their machines.

        keystead get hosts
        keystead get hosts esxi-001 esxi-002 -o wide

        The answer is a ``HostList``.
        """

    def get_keys(self) -> answers.KeyList:
        """Keys in vCenter's inventory: availability at the key provider, and users [STD-20].

        keystead get keys
        keystead get keys -o wide

        The answer is a ``KeyList``.
        """

    def get_kms(self) -> answers.KeyServerList:
        """Key servers with the number of their keys by state, read from the servers.

        keystead get kms
        keystead get kms -o yaml

        The answer is a ``KeyServerList``.
        """

    def get_links(self) -> answers.LinkList:
        """Links in each direction, with their active link rules.

        keystead get links
        keystead get links -o json

        Shows the links of vCenter to key servers and hosts, and all other links that have a
        rule.

        The answer is a ``LinkList``.
        """

    def get_machines(self) -> answers.MachineList:
        """Machines of the lab: state, release, clock.

        keystead get machines
        keystead get machines -o wide

        CLOCK is the offset of the machine's clock, ERROR the uncertainty of that offset. The
        wide table also has the time of day, which the lab does not use.

        The answer is a ``MachineList``.
        """

    def get_messages(
        self,
        *,
        node: str | None = None,
        kind: Literal["error", "event", "kmip", "reply", "request", "wrong"] | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> answers.MessageList:
        """What travels in the lab now, oldest first: messages of the bus, and what clients do at
        key servers over KMIP. Keys and all binary data are shown as fingerprints.

        keystead get messages --node esxi-001
        keystead get messages --kind error -o json

        The first command begins to listen and shows nothing. A lab of real processes listens
        for 30 s after each one. What commands ask nodes travels beside the bus, and is not
        shown.

        node: Only messages from or to this node.
        kind: Only messages of this kind.
        after: Only messages with a number above this one.
        limit: At most this many, the newest.
        The answer is a ``MessageList``.
        """

    def get_nodes(self) -> answers.NodeList:
        """All nodes of the lab: machine state, boot count, screen, message counters.

        keystead get nodes
        keystead get nodes vcenter kms -o json

        The answer is a ``NodeList``.
        """

    def get_providers(self) -> answers.ProviderList:
        """Key providers of vCenter with the state of their key servers [STD-03].

        keystead get providers
        keystead get providers -o name

        The answer is a ``ProviderList``.
        """

    def get_roles(self) -> answers.RoleList:
        """Roles of vCenter with the privileges that each has and lacks.

        keystead get roles
        keystead get roles NoCryptoAdmin -o json

        The answer is a ``RoleList``.
        """

    def get_status(self) -> answers.LabStatus:
        """A summary of the lab: nodes by state, VMs by state, active faults, processes.

        The answer is a ``LabStatus``.
        """

    def get_tasks(self, *, running: bool | None = None) -> answers.TaskList:
        """vCenter's recent tasks, oldest first, with their objects and results.

        keystead get tasks
        keystead get tasks --running -w

        running: Only tasks that have not ended.
        The answer is a ``TaskList``.
        """

    def get_tpm(self) -> answers.TpmList:
        """The TPM of each host.

        keystead get tpm
        keystead get tpm -o wide

        The answer is a ``TpmList``.
        """

    def get_trust_authority(self) -> answers.TrustAuthority:
        """Items of the Trust Authority, compared across all its services [HLT-01].

        keystead get trust-authority
        keystead get trust-authority -o json

        The answer is a ``TrustAuthority``.
        """

    def get_trusted_hosts(self) -> answers.TrustedHostList:
        """Trusted hosts: desired and applied configuration [HLT-02], and attestation.

        keystead get trusted-hosts
        keystead get trusted-hosts -o json

        The answer is a ``TrustedHostList``.
        """

    def get_users(self) -> answers.UserList:
        """Users of vCenter and their roles.

        keystead get users
        keystead get users -o json

        The answer is a ``UserList``.
        """

    def get_vms(self) -> answers.VmList:
        """VMs in vCenter's view: power, locked or not, missing keys [LOCK-01].

        keystead get vms
        keystead get vms vm-01 vm-02 -o json
        keystead get vms -w --sort-by host

        The answer is a ``VmList``.
        """

    def heal(
        self,
        *,
        ids: Sequence[str] | None = None,
        all: bool | None = None,
        with_cure: bool | None = None,
    ) -> answers.HealReport:
        """Heal faults and verify that their effects have ended.

        keystead heal --all
        keystead heal tpm-clear-1 --with-cure

        A fault without undo stays listed with its cure, which ``with_cure`` performs. Exit
        code 0: all faults that can be undone, and with ``with_cure`` all faults, were
        verified as healed.

        all: All faults.
        with_cure: Also perform the cures of faults without undo.
        The answer is a ``HealReport``.
        """

    def host_add(self, *, host: str | None = None, cluster: str | None = None) -> answers.Host:
        """Add a host to vCenter: a removed one, or a new machine, which is powered on.

        keystead host add
        keystead host add esxi-004 --cluster cluster-a

        A new machine has the same hardware and release as the other hosts of its cluster.

        host: Name. Default: the next free number.
        cluster: Cluster. Default: the first one with a host.
        The answer is a ``Host``.
        """

    def host_clear_tpm(self, host: str) -> answers.Host:
        """Clear a host's TPM record in vCenter, so that vCenter accepts the host's present TPM.

        keystead host clear-tpm esxi-001
        keystead host clear-tpm esxi-001 -o json

        For a replaced board, a cleared TPM, or an intended new build [ATT-09].

        The answer is a ``Host``.
        """

    def host_crash(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Crash hosts, all at once; written data survives, and the hosts stay off.

        keystead host crash esxi-001
        keystead host crash vcenter

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_disable_crypto(self, host: str) -> answers.Host:
        """Turn off a host's encryption mode: pendingIncapable until its next reboot [HEM-03].

        keystead host disable-crypto esxi-003
        keystead host disable-crypto esxi-003 -o json

        It stays off until an encryption task or `host enable-crypto` turns it on.

        The answer is a ``Host``.
        """

    def host_disconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Disconnect hosts from vCenter until `host reconnect`; they and their VMs keep running.

        keystead host disconnect esxi-001
        keystead host disconnect 'esxi-[001-003]'

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostList``.
        """

    def host_dump_decrypt(self, host: str, dump: str) -> answers.DumpContent:
        """Decrypt and read a core dump on the host; needs its key in the host's memory.

        keystead host dump decrypt esxi-001 hostd-zdump.000
        keystead host dump decrypt esxi-001 before-the-outage -o json

        Rule [DUMP-02].

        The answer is a ``DumpContent``.
        """

    def host_dump_list(self, host: str) -> answers.DumpList:
        """List core dumps of a host, the key of each, and whether that key is in memory.

        keystead host dump list esxi-001
        keystead host dump list esxi-001 -o json

        The answer is a ``DumpList``.
        """

    def host_dump_remove(self, host: str, dump: str) -> answers.DumpList:
        """Delete a core dump from a host's disk, and list the remaining ones.

        keystead host dump remove esxi-001 hostd-zdump.000
        keystead host dump remove esxi-001 before-the-outage -o json

        The answer is a ``DumpList``.
        """

    def host_dump_write(
        self,
        host: str,
        *,
        dump: str | None = None,
        marker: str | None = None,
        vm: str | None = None,
    ) -> answers.Dump:
        """Write a core dump of a host, encrypted with the host key if the host is safe.

        keystead host dump write esxi-001
        keystead host dump write esxi-001 before-the-outage --marker 'found again'
        keystead host dump write esxi-001 --vm vm-01

        An existing dump is not overwritten [DUMP-01].

        dump: Name of the dump. Default: the next free number.
        marker: Text to store in the dump, to recognize it later.
        vm: Dump the process of this running VM instead; encrypted with the VM's key, if any.
        The answer is a ``Dump``.
        """

    def host_enable_crypto(self, host: str, *, key: str | None = None) -> answers.Host:
        """Turn on a host's encryption mode (ConfigureCryptoKey).

        keystead host enable-crypto esxi-003
        keystead host enable-crypto esxi-003 --key
        kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001

        vCenter pushes the host key and the keys of the host's VMs, and unlocks these VMs
        [LOCK-05].

        key: Host key for this host only, as provider/id. Default: the present host key, else
        the cluster's, else a new one.
        The answer is a ``Host``.
        """

    def host_enter_maintenance(
        self, hosts: Sequence[str], *, evacuate: bool | None = None
    ) -> answers.HostList:
        """Put hosts into maintenance mode, which also lasts across reboots.

        keystead host enter-maintenance esxi-001 --evacuate
        keystead host enter-maintenance 'esxi-[001-002]'

        No VM moves to such a host or starts there. Refused while VMs run on one of the hosts.

        hosts: Names or selectors: esxi-[001-003], site:edge.
        evacuate: First migrate running VMs to other hosts, like automated DRS [HA-03].
        The answer is a ``HostList``.
        """

    def host_exit_maintenance(self, hosts: Sequence[str]) -> answers.HostList:
        """Take hosts out of maintenance mode; no VM is started by it.

        keystead host exit-maintenance esxi-001
        keystead host exit-maintenance role:esxi

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostList``.
        """

    def host_pause(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Pause hosts by a signal to their processes: they run on nothing and answer nothing.

        keystead host pause esxi-001
        keystead host pause kms

        Other nodes in the same process are not paused.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPauseList``.
        """

    def host_power_loss(
        self, hosts: Sequence[str], *, stay_off: bool | None = None
    ) -> answers.HostPowerList:
        """Cut the power of hosts and restore it; only synced data survives.

        keystead host power-loss esxi-001
        keystead host power-loss site:main --stay-off

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        stay_off: Do not restore the power.
        The answer is a ``HostPowerList``.
        """

    def host_power_off(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Shut down hosts (or vcenter, kms) cleanly; their state is saved first.

        keystead host power-off esxi-001
        keystead host power-off kms

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_power_on(
        self, hosts: Sequence[str], *, options: Mapping[str, str] | None = None
    ) -> answers.HostPowerList:
        """Power on nodes; returns when each of them has started or halted.

        Nodes of one role start together, one role after the other. ``options`` are boot
        options: ``encryptionRecoveryKey`` for a host, ``kmsPassphrase`` for a key server with
        a passphrase root, ``acceptRollback`` for a key server that refuses an older database.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_prepare_crypto(self, host: str) -> answers.Host:
        """Prepare a host to receive keys (PrepareCrypto): incapable becomes prepared.

        keystead host prepare-crypto esxi-003
        keystead host prepare-crypto esxi-003 -o json

        A prepared host has no host key yet; `host enable-crypto` makes it safe.

        The answer is a ``Host``.
        """

    def host_reboot(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Reboot hosts: the configuration is saved, TPM2_Shutdown runs, the boot is measured
        anew.

        keystead host reboot esxi-001
        keystead host reboot 'esxi-[001-003]'

        The command returns when vCenter shows the same state of the hosts' VMs as the hosts
        do, if vCenter can reach them.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_reconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Reconnect hosts to vCenter now; vCenter pushes the keys and settings that they lack
        [B8].

        keystead host reconnect esxi-001
        keystead host reconnect role:esxi

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostList``.
        """

    def host_reinstall(
        self, hosts: Sequence[str], *, leftover: bool | None = None
    ) -> answers.HostPowerList:
        """Reinstall hosts: their disks are wiped, their TPMs are kept.

        keystead host reinstall esxi-001
        keystead host reinstall esxi-001 --leftover

        Configuration, persisted keys and the list of VMs are lost. The files of VMs are on
        the datastore; register the VMs again. With ``leftover`` a key of the old installation
        stays in the TPM, so that the TPM cannot seal [CFG-01].

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        leftover: Keep a key of the old installation in the TPM.
        The answer is a ``HostPowerList``.
        """

    def host_remove(self, hosts: Sequence[str]) -> answers.HostRemovalList:
        """Remove hosts and their VMs from vCenter's inventory; the machines do not change.

        keystead host remove esxi-003
        keystead host remove esxi-003 -o json

        Refused while VMs run on a host that is connected.

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostRemovalList``.
        """

    def host_remove_keys(self, host: str, keys: Sequence[str]) -> answers.RemovedKeyList:
        """Remove keys from a host's key cache, on the host itself; vCenter is not notified.

        keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        -o json

        Keys are removed even when they are in use. With the knob ``store_follows_cache`` they
        are also removed from the persisted store. vCenter pushes them again when it next
        checks the host [STD-13]. Running VMs keep running [LOCK-04]. A host that loses its
        host key keeps working until its next boot.

        keys: Keys, each as provider/id.
        The answer is a ``RemovedKeyList``.
        """

    def host_remove_provider(self, host: str, provider: str) -> answers.HostView:
        """Remove a native key provider from a host, on the host itself.

        keystead host remove-provider esxi-003 nkp
        keystead host remove-provider esxi-003 nkp -o json

        Removes the provider's key derivation key [NKP-15]; cached keys stay. vCenter
        configures the provider again when it next checks the host.

        The answer is a ``HostView``.
        """

    def host_resume(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Resume paused hosts.

        keystead host resume esxi-001
        keystead host resume role:esxi

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPauseList``.
        """

    def host_rollback(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Roll back an upgrade: boot the previous release and configuration from the other boot
        bank.

        keystead host rollback esxi-001
        keystead host rollback 'esxi-[001-003]' -o json

        A running host must be in maintenance mode. A powered-off host stays off and boots the
        previous release next. The later release and all changes to its configuration are lost
        [UPG-02].

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_upgrade(self, hosts: Sequence[str], release: str) -> answers.HostPowerList:
        """Upgrade hosts in maintenance mode to a later release, and reboot them.

        keystead host upgrade esxi-001 --to 8.0U3
        keystead host upgrade 'esxi-[001-003]' --to 7.0U2 -o json

        Hosts are upgraded one after the other. A powered-off host stays off and boots the new
        release next. The first boot of 7.0 U2 or later encrypts the configuration [UPG-01].
        The previous release stays in the other boot bank, for ``HostRollback``.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        release: New release, such as 8.0U3.
        The answer is a ``HostPowerList``.
        """

    def key_add(self, key: str) -> answers.KnownKey:
        """Add a key of a key server to vCenter's list (AddKey); undoes `key remove`.

        keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

        The answer is a ``KnownKey``.
        """

    def key_generate(
        self,
        *,
        provider: str | None = None,
        key_type: Literal["", "rawKey", "wrappedKey"] | None = None,
    ) -> answers.KnownKey:
        """Generate a key at a key provider (GenerateKey); it is Pre-Active until its first use.

        keystead key generate
        keystead key generate --provider second -o json

        A wrapped key is at no key server, so it has no state [KEY-07].

        provider: Key provider. Default: the default provider.
        key_type: rawKey or wrappedKey, of a vCenter 9.0. Default: what the provider makes.
        The answer is a ``KnownKey``.
        """

    def key_ids(self) -> answers.KnownKeyList:
        """Ids of the keys that vCenter knows (ListKeys).

        keystead key ids
        keystead key ids -o json

        `get keys` also shows whether their key providers can supply them.

        The answer is a ``KnownKeyList``.
        """

    def key_remove(self, key: str, *, force: bool | None = None) -> answers.KnownKey:
        """Remove a key from vCenter's list (RemoveKey); the key server keeps it.

        keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --force

        With ``force`` the hosts remove the key too, even in use; VMs that need it are locked
        when they next need it. The answer names hosts that did not confirm within the knob
        ``request_timeout_s`` [SC-16].

        force: Remove a key in use, and remove it from hosts.
        The answer is a ``KnownKey``.
        """

    def kms_backup(self, backup: str, *, kms: Sequence[str] | None = None) -> answers.KeyBackup:
        """Back up key servers; each is stopped for the backup and started again.

        keystead kms backup before-the-change
        keystead kms backup nightly --kms kms-1

        Servers that replicate are backed up together. A backup of the same name is replaced.

        kms: Key server; can be repeated. Default: all.
        The answer is a ``KeyBackup``.
        """

    def kms_identities(self, kms: str) -> answers.KmsIdentityList:
        """Show a key server's KMIP certificate and the client certificates that it accepts.

        keystead kms identities kms-1
        keystead kms identities kms-1 -o json

        The answer is a ``KmsIdentityList``.
        """

    def kms_key_activate(self, key: str, *, kms: str | None = None) -> answers.Key:
        """Activate a key (KMIP Activate): Pre-Active becomes Active.

        keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --kms kms

        kms: Key server. Default: the one that has the key.
        The answer is a ``Key``.
        """

    def kms_key_create(self, kms: str) -> answers.Key:
        """Create an Active key at a key server, for use as a primary key.

        keystead kms key create kms
        keystead kms key create kms -o json

        The answer is a ``Key``.
        """

    def kms_key_destroy(self, key: str) -> answers.Fault:
        """Revoke and destroy a key, a fault without undo; `keystead get faults` shows its cure.

        keystead kms key destroy 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key destroy kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001

        The answer is a ``Fault``.
        """

    def kms_key_grant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Allow the clients of another scope to get this one key.

        keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
        keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b --kms kms -o
        json

        KS-USE-002 when no server has it.

        scope: The other scope; the scope of a vCenter is the vCenter's name.
        kms: Key server. Default: all that have the key.
        The answer is a ``Key``.
        """

    def kms_key_revoke(self, key: str, *, compromised: bool | None = None) -> answers.Fault:
        """Revoke a key, a fault without undo; `keystead get faults` shows its cure.

        keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --compromised

        KMIP Revoke: Active becomes Deactivated [STD-19].

        compromised: Revoke with reason Key Compromise: the key becomes Compromised.
        The answer is a ``Fault``.
        """

    def kms_key_show(self, key: str, *, kms: str | None = None) -> answers.Key:
        """Show the attributes of a key at its key server.

        keystead kms key show 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key show kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

        KS-USE-002 when no server has it.

        kms: Key server. Default: the one that has the key.
        The answer is a ``Key``.
        """

    def kms_key_ungrant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Withdraw a grant: clients of the other scope can no longer get the key.

        keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
        keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b -o json

        Clients that already have the key keep it. KS-USE-002 when no server has it.

        scope: The other scope; the scope of a vCenter is the vCenter's name.
        kms: Key server. Default: all that have the key.
        The answer is a ``Key``.
        """

    def kms_renew_certificate(self, kms: str) -> answers.KmsIdentityList:
        """Renew a key server's certificate; vCenter refuses it until it trusts the new one.

        keystead kms renew-certificate kms-1
        keystead kms renew-certificate kms-1 -o json

        The new certificate has a new key [SC-06].

        The answer is a ``KmsIdentityList``.
        """

    def kms_restore(self, backup: str, *, kms: Sequence[str] | None = None) -> answers.KeyBackup:
        """Restore key servers from a backup; later keys and changes are lost, and audited.

        keystead kms restore before-the-change
        keystead kms restore nightly --kms kms-1

        The servers are stopped and started from the backup. KS-USE-002 when there is no such
        backup.

        kms: Key server; can be repeated. Default: all.
        The answer is a ``KeyBackup``.
        """

    def kms_revoke(self, kms: str, client: str) -> answers.KmsIdentityList:
        """Make a key server refuse a client.

        keystead kms revoke kms-1 vcenter
        keystead kms revoke kms-1 3f0a9c -o json

        client: Name of the client, or the beginning of its digest if the name is ambiguous.
        The answer is a ``KmsIdentityList``.
        """

    def kms_rotate_kek(self, kms: str) -> answers.KeyServer:
        """Create a new KEK at a key server; it is durable when the command returns.

        keystead kms rotate-kek kms
        keystead kms rotate-kek kms -o json

        The server then wraps its keys under the new KEK, one after the other.

        The answer is a ``KeyServer``.
        """

    def kms_scope(
        self, kms: str, client: str, *, scope: str | None = None, role: str | None = None
    ) -> answers.KmsIdentityList:
        """Change the scope or the role of a client of a key server.

        keystead kms scope kms-1 vcenter apps
        keystead kms scope kms-1 3f0a9c --role operator

        The change applies from the client's next message on.

        client: Name of the client, or the beginning of its digest if the name is ambiguous.
        scope: Scope whose keys the client shares. Default: unchanged.
        role: client, operator, owner, kps or vsan.
        The answer is a ``KmsIdentityList``.
        """

    def kms_set_root(
        self,
        kms: str,
        root: Literal["keyfile", "passphrase", "tpm"],
        *,
        passphrase_file: str | None = None,
    ) -> answers.KeyServer:
        """Seal a key server's KEKs under another root; the keys themselves do not change.

        keystead kms set-root kms --root tpm
        keystead kms set-root kms --root passphrase --passphrase-file secret.txt

        root: keyfile, passphrase or tpm.
        passphrase_file: File whose first line is the passphrase, for root passphrase.
        The answer is a ``KeyServer``.
        """

    def kms_trust(
        self,
        kms: str,
        *,
        provider: str | None = None,
        certificate: str | None = None,
        role: str | None = None,
        scope: str | None = None,
        node: str | None = None,
        renew: bool | None = None,
    ) -> answers.KmsIdentityList:
        """Make a key server accept a client's certificate.

        keystead kms trust kms-1 --provider kms-provider
        keystead kms trust kms-1 --node esxi-001 --renew
        keystead kms trust kms-1 --certificate app.pem --role owner --scope apps

        Without ``role`` or ``scope`` a known client keeps what it has. A new client gets the
        role of its kind of node, else client, and the scope of its vCenter or vSAN cluster,
        else ``default`` [STD-04, STD-06].

        provider: Accept vCenter's certificate for this key provider.
        certificate: PEM: a certificate.
        role: client, operator, owner, kps or vsan. Default: the role of the node, else
        client.
        scope: Scope whose keys the client shares. Default: unchanged.
        node: Accept the certificate of this vSAN host or Key Provider Service.
        renew: First give the node a new certificate.
        The answer is a ``KmsIdentityList``.
        """

    def link_cut(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Cut a link: messages are lost and senders time out.

        keystead link cut vcenter kms
        keystead link cut vcenter esxi-001 --one-way --for 5m
        keystead link cut client vcenter

        ``client`` stands for the clients of the vSphere APIs, at a vCenter or a host: their
        connections hang until the link is healed.

        one_way: Only the direction from A to B.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        The answer is a ``Fault``.
        """

    def link_delay(
        self,
        a: str,
        b: str,
        delay_s: float,
        *,
        jitter_s: float | None = None,
        one_way: bool | None = None,
        lease_s: float | None = None,
    ) -> answers.Fault:
        """Delay the messages of a link.

        keystead link delay vcenter kms 2s
        keystead link delay vcenter esxi-001 500ms --jitter 200ms --for 5m

        delay_s: Delay of each message, in lab time.
        jitter_s: Maximum of a random delay on top, per message.
        one_way: Only the direction from A to B.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        The answer is a ``Fault``.
        """

    def link_dup(
        self,
        a: str,
        b: str,
        share: float,
        *,
        one_way: bool | None = None,
        lease_s: float | None = None,
    ) -> answers.Fault:
        """Send a share of a link's messages twice.

        keystead link dup vcenter kms 50%
        keystead link dup vcenter esxi-001 100% --for 2m

        share: Share of messages, such as 20% or 0.2.
        one_way: Only the direction from A to B.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        The answer is a ``Fault``.
        """

    def link_heal(self, a: str, b: str) -> answers.HealReport:
        """Heal all faults of the link between two nodes.

        keystead link heal vcenter kms
        keystead link heal vcenter esxi-001 -o json

        KS-USE-002 when there is none.

        The answer is a ``HealReport``.
        """

    def link_loss(
        self,
        a: str,
        b: str,
        share: float,
        *,
        one_way: bool | None = None,
        lease_s: float | None = None,
    ) -> answers.Fault:
        """Lose a share of a link's messages.

        keystead link loss vcenter kms 20%
        keystead link loss vcenter esxi-001 0.5 --one-way --for 2m

        share: Share of messages, such as 20% or 0.2.
        one_way: Only the direction from A to B.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        The answer is a ``Fault``.
        """

    def link_reset(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Reset the KMIP connections of a link between vCenters and key servers, or those of
        clients.

        keystead link reset vcenter kms
        keystead link reset vcenter kms --one-way --for 5m

        Neither end may be a host, except for ``client``. Messages of the bus are not
        affected. With ``one_way`` only connections that send data from A to B are reset.

        one_way: Only the direction from A to B.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        The answer is a ``Fault``.
        """

    def link_stall(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Stall the TLS handshakes of KMIP connections of a link.

        keystead link stall vcenter kms
        keystead link stall kms vcenter --one-way --for 2m

        Neither end may be a host, except for ``client``.

        one_way: Only the direction from A to B.
        lease_s: Lab time after which the fault heals. Default: it stays until `heal`.
        The answer is a ``Fault``.
        """

    def provider_add(
        self,
        provider: str,
        servers: Sequence[str],
        *,
        default: bool | None = None,
        entry: Mapping[str, Any] | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Register a standard key provider; an earlier name restores that provider [LOCK-06].

        keystead provider add kms-provider --server kms
        keystead provider add outside --server kmip://127.0.0.1:5696 --timeout 5
        keystead provider add wrapping --server kms --key-type wrappedKey --rotation-days 90

        A node of the lab is used over the bus or by KMIP, as the Lab file says. `bus:NODE` is
        refused (KS-USE-003) for a node that serves KMIP only. For a server with a kmip://
        address, set up the trust afterwards. The name of a server is its address unless you
        give NAME=ADDRESS.

        servers: Key server: a node, kmip://HOST:PORT, or NAME=ADDRESS; can be repeated.
        default: Make it the default key provider.
        The answer is a ``Provider``.
        """

    def provider_create(
        self,
        provider: str,
        *,
        key_id: str | None = None,
        tpm_required: bool | None = None,
        default: bool | None = None,
    ) -> answers.Provider:
        """Create a native key provider: hosts derive its keys [NKP-01].

        keystead provider create nkp
        keystead provider create nkp --tpm-required --default

        Export the provider before its first use: until then it is not active [NKP-05].

        key_id: A UUID. Default: a new one.
        tpm_required: Use the provider only on hosts with a TPM [NKP-12].
        default: Make it the default key provider.
        The answer is a ``Provider``.
        """

    def provider_default(self, provider: str) -> answers.Provider:
        """Set vCenter's default key provider, for new keys [STD-02].

        keystead provider default kms-provider
        keystead provider default second -o json

        The answer is a ``Provider``.
        """

    def provider_delete(self, provider: str) -> answers.Fault:
        """Delete a key provider, even one in use; `keystead get faults` shows the cure.

        keystead provider delete kms-provider
        keystead provider delete second -o json

        Rule [DEL-01].

        The answer is a ``Fault``.
        """

    def provider_export(
        self, provider: str, file: str, *, password_file: str | None = None
    ) -> answers.ProviderBackup:
        """Export a native provider to a PKCS#12 file. Keep the file: only it restores the
        provider.

        keystead provider export nkp nkp.p12 --password-file secret.txt
        keystead provider export nkp nkp.p12

        Without a password the file has the key derivation key in clear text [NKP-03]. An
        existing file is not overwritten: KS-USE-003.

        password_file: File whose first line is the password of the backup.
        The answer is a ``ProviderBackup``.
        """

    def provider_import(
        self,
        file: str,
        *,
        password_file: str | None = None,
        default: bool | None = None,
        dry_run: bool | None = None,
    ) -> answers.ProviderBackup:
        """Import a native provider from a backup: a deleted one, or one of another vCenter.

        keystead provider import nkp.p12 --password-file secret.txt --default
        keystead provider import nkp.p12 --dry-run

        Rules [NKP-04] and [LOCK-06].

        password_file: File whose first line is the password of the backup.
        default: Make it the default key provider.
        dry_run: Show the content and change nothing.
        The answer is a ``ProviderBackup``.
        """

    def provider_renew_certificate(self, provider: str) -> answers.ProviderTrustList:
        """Renew vCenter's client certificate; the servers refuse it until they trust the new
        one.

        keystead provider renew-certificate kms-provider
        keystead provider renew-certificate kms-provider -o json

        The new certificate is self-signed [SC-08].

        The answer is a ``ProviderTrustList``.
        """

    def provider_set(
        self,
        provider: str,
        *,
        servers: Sequence[str] | None = None,
        entry: Mapping[str, Any] | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Change the entries of ``servers`` of a standard provider; empty: of all its servers.
        Or change what its new keys are [KEY-07].

        KS-USE-002 for a provider or a server that vCenter does not have.

        The answer is a ``Provider``.
        """

    def provider_signing_request(
        self, provider: str, *, new: bool | None = None
    ) -> answers.SigningRequest:
        """Print a certificate signing request for vCenter, for the key servers' owner to sign.

        keystead provider signing-request outside --new
        keystead provider signing-request outside -o json

        With ``new`` the servers refuse vCenter until they trust the certificate that is
        issued for the request [STD-04, SC-08].

        new: Create a new key, which replaces the present one.
        The answer is a ``SigningRequest``.
        """

    def provider_trust(self, provider: str) -> answers.ProviderTrustList:
        """Show whether vCenter and the KMIP servers of a provider trust each other [STD-03].

        keystead provider trust kms-provider
        keystead provider trust kms-provider -o json

        The answer is a ``ProviderTrustList``.
        """

    def provider_trust_servers(
        self, provider: str, *, certificate: str | None = None
    ) -> answers.ProviderTrustList:
        """Make vCenter trust the present certificates of a provider's KMIP servers.

        keystead provider trust-servers kms-provider
        keystead provider trust-servers kms-provider --certificate ca.pem

        Servers that do not answer are skipped. With ``certificate`` vCenter trusts that
        certificate.

        certificate: PEM: a certificate.
        The answer is a ``ProviderTrustList``.
        """

    def provider_update(self, provider: str, *, key_id: str | None = None) -> answers.Provider:
        """Change the id of a native provider's key derivation key. Export the provider
        afterwards.

        keystead provider update nkp
        keystead provider update nkp --key-id 6b29fc40-ca47-1067-b31d-00dd010662da

        The change makes earlier backups out of date [NKP-01, NKP-05].

        key_id: A UUID. Default: a new one.
        The answer is a ``Provider``.
        """

    def provider_upload_certificate(
        self, provider: str, chain: Sequence[str], *, key_file: str | None = None
    ) -> answers.ProviderTrustList:
        """Set vCenter's client certificate: issued for its signing request, or with a private
        key.

        keystead provider upload-certificate outside --certificate signed.pem
        keystead provider upload-certificate outside --certificate client.pem --key client.key

        Rule [STD-04].

        chain: PEM: the certificate, then its chain.
        key_file: PEM: its private key. Default: the key of the request.
        The answer is a ``ProviderTrustList``.
        """

    def role_create(
        self,
        role: str,
        *,
        like: str | None = None,
        add: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
    ) -> answers.RoleList:
        """Create a role, from another role with privileges added or removed.

        keystead role create no-host --like Admin --without Cryptographer.RegisterHost
        keystead role create cloner --like NoCryptoAdmin --with Cryptographer.Clone

        AddAuthorizationRole. KS-PRODUCT-001 if the name exists.

        like: Role to start from. Default: no privileges, or the role itself in an update.
        add: Privilege to add; can be repeated.
        without: Privilege to remove; can be repeated.
        The answer is a ``RoleList``.
        """

    def role_delete(self, role: str) -> answers.RoleList:
        """Delete a role that is not in use.

        keystead role delete no-host
        keystead role delete no-host -o json

        RemoveAuthorizationRole. KS-PRODUCT-001 while a user has the role.

        The answer is a ``RoleList``.
        """

    def role_update(
        self,
        role: str,
        *,
        like: str | None = None,
        add: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
    ) -> answers.RoleList:
        """Change the privileges of a role; the change applies at once to all its users.

        keystead role update no-host --with Cryptographer.RegisterHost
        keystead role update no-host --like ReadOnly

        UpdateAuthorizationRole.

        like: Role to start from. Default: no privileges, or the role itself in an update.
        add: Privilege to add; can be repeated.
        without: Privilege to remove; can be repeated.
        The answer is a ``RoleList``.
        """

    def tpm_clear(self, host: str) -> answers.Fault:
        """Clear a host's TPM (new storage seed), a fault without undo; see its cure.

        keystead tpm clear esxi-001
        keystead tpm clear esxi-001 -o json

        The answer is a ``Fault``.
        """

    def tpm_inspect(self, host: str) -> answers.Tpm:
        """Show the state of a host's TPM.

        keystead tpm inspect esxi-001
        keystead tpm inspect esxi-001 -o json

        The answer is a ``Tpm``.
        """

    def tpm_lockout(self, host: str) -> answers.Tpm:
        """Fail authorizations until a host's TPM is in lockout.

        The answer is a ``Tpm``.
        """

    def tpm_pcrs(self, host: str) -> answers.Pcrs:
        """Show PCR 0 to 13 of a host's TPM, in hexadecimal; none while the host is off.

        keystead tpm pcrs esxi-001
        keystead tpm pcrs esxi-001 -o json

        The answer is a ``Pcrs``.
        """

    def tpm_swap(self, host: str) -> answers.Fault:
        """Replace a host's TPM with a new one, a fault without undo; see its cure.

        keystead tpm swap esxi-001
        keystead tpm swap esxi-001 -o json

        The answer is a ``Fault``.
        """

    def trust_admin(
        self, *, member: str | None = None, remove: bool | None = None
    ) -> answers.TrustAdminList:
        """Step 1: add a user to TrustedAdmins at both vCenters, or remove it [TA-04].

        keystead trust admin
        keystead trust admin alice@vsphere.local --vcenter ta-vcenter

        The answer is a ``TrustAdminList``.
        """

    def trust_cluster(self, cluster: str, *, off: bool | None = None) -> answers.TrustedHostList:
        """Step 12: enable the Trusted state of a cluster, or disable it [HLT-02].

        keystead trust cluster cluster-a
        keystead trust cluster cluster-a --off

        The answer is a ``TrustedHostList``.
        """

    def trust_enable(self) -> answers.TrustAuthority:
        """Step 2: enable the Trust Authority state of the Trust Authority cluster [TA-01].

        keystead trust enable
        keystead trust enable -o json

        The answer is a ``TrustAuthority``.
        """

    def trust_export(
        self,
        item: Literal[
            "base-image", "ca-certificate", "endorsement-key", "principal", "services-information"
        ],
        file: str,
        *,
        host: str | None = None,
    ) -> answers.TrustFile:
        """Steps 3, 4, 5, 11: export an item, such as a principal or a base image, to a file.

        keystead trust export principal principal.json
        keystead trust export endorsement-key esxi-001.json --host esxi-001

        An existing file is not overwritten: KS-USE-003.

        host: Host; for all items but principal and services-information.
        The answer is a ``TrustFile``.
        """

    def trust_import(self, file: str) -> answers.TrustFile:
        """Steps 6, 7, 8, 12: import an exported item at the vCenter that needs it.

        keystead trust import principal.json
        keystead trust import services.json

        The answer is a ``TrustFile``.
        """

    def trust_key_provider(
        self, provider: str, primary_key: str, servers: Sequence[str]
    ) -> answers.TrustAuthority:
        """Step 9: create a trusted key provider with a primary key.

        keystead trust key-provider trusted-provider 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        --server kms
        keystead trust key-provider second 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --server kms-1

        primary_key: Id of the primary key at the key servers.
        servers: Key server; can be repeated.
        The answer is a ``TrustAuthority``.
        """

    def trust_key_servers(self, provider: str) -> answers.TrustAuthority:
        """Step 10: trust the certificates of the provider's key servers.

        keystead trust key-servers trusted-provider
        keystead trust key-servers trusted-provider -o json

        The answer is a ``TrustAuthority``.
        """

    def trust_register(self, provider: str, *, default: bool | None = None) -> answers.Provider:
        """Step 13: register the trusted key provider at the workload vCenter.

        keystead trust register trusted-provider --default
        keystead trust register trusted-provider

        The answer is a ``Provider``.
        """

    def trust_remediate(
        self, cluster: str, *, delete: bool | None = None
    ) -> answers.TrustedHostList:
        """Apply the desired configuration to a cluster's hosts; --delete removes the applied
        one.

        keystead trust remediate cluster-a
        keystead trust remediate cluster-a --delete

        Rule [HLT-02].

        The answer is a ``TrustedHostList``.
        """

    def trust_remove(
        self,
        kind: Literal["baseImage", "caCertificate", "endorsementKey", "principal", "provider"],
        item: str,
    ) -> answers.TrustAuthority:
        """Remove an item from the Trust Authority.

        keystead trust remove base-image 8.0U3-24022510
        keystead trust remove endorsement-key esxi-001

        The answer is a ``TrustAuthority``.
        """

    def trust_renew_certificate(self) -> answers.TrustedHostList:
        """Renew the STS certificate of the workload vCenter; its principal becomes out of date.

        keystead trust renew-certificate
        keystead trust renew-certificate -o json

        Rule [HLT-05].

        The answer is a ``TrustedHostList``.
        """

    def trust_renew_services(self, services: Sequence[str]) -> answers.TrustAuthority:
        """Reinstall services of the Trust Authority, which gives them new certificates.

        keystead trust renew-services attestation-1 keyprovider-1
        keystead trust renew-services attestation-2 -o json

        Trusted hosts refuse them until you export their services information, import it and
        remediate [TA-08].

        The answer is a ``TrustAuthority``.
        """

    def trust_settings(
        self, require_endorsement_keys: bool, require_certificate_validation: bool
    ) -> answers.TrustAuthority:
        """Set how TPMs are accepted: endorsement key in the list, or certified by an imported
        CA.

        keystead trust settings --require-endorsement-keys --no-require-certificate-validation
        keystead trust settings --no-require-endorsement-keys --require-certificate-validation

        With neither of them every TPM is accepted, with a warning [TA-07].

        The answer is a ``TrustAuthority``.
        """

    def trust_setup(self) -> answers.TrustedHostList:
        """Do all thirteen steps, as the Lab file says; existing items are kept.

        keystead trust setup
        keystead trust setup -o json

        The answer is a ``TrustedHostList``.
        """

    def user_delete(self, user: str) -> answers.UserList:
        """Remove a user's role; the user then has no privileges.

        keystead user delete alice@vsphere.local
        keystead user delete alice@vsphere.local -o json

        RemoveEntityPermission.

        The answer is a ``UserList``.
        """

    def user_set(self, user: str, role: str) -> answers.UserList:
        """Assign a role to a user; it replaces the user's earlier role.

        keystead user set alice@vsphere.local --role NoCryptoAdmin
        keystead user set bob --role no-host

        SetEntityPermissions. The option --user of other commands runs their tasks as that
        user.

        role: Admin, NoCryptoAdmin, ReadOnly, or a role of your own.
        The answer is a ``UserList``.
        """

    def vcenter_backup(self, backup: str) -> answers.VcenterCopy:
        """Back up vCenter; it is stopped for the backup and started again.

        keystead vcenter backup before-the-change
        keystead vcenter backup nightly --vcenter vcenter-b

        A file-based backup [NKP-08]. A backup of the same name is replaced.

        The answer is a ``VcenterCopy``.
        """

    def vcenter_rebuild(self) -> answers.HostPowerList:
        """Reinstall vCenter: its inventory and its key providers are lost.

        keystead vcenter rebuild
        keystead vcenter rebuild --vcenter vcenter-b

        Add them again with ``HostAdd``, with ``ProviderAdd`` under the same name [LOCK-06],
        and with ``ProviderImport`` of a backup [NKP-04].

        The answer is a ``HostPowerList``.
        """

    def vcenter_restore(self, backup: str) -> answers.VcenterCopy:
        """Restore vCenter from a backup; later changes are lost.

        keystead vcenter restore before-the-change
        keystead vcenter restore nightly --vcenter vcenter-b

        A powered-off vCenter stays off. KS-USE-002 when there is no such backup.

        The answer is a ``VcenterCopy``.
        """

    def vm_add_disk(
        self,
        vm: str,
        *,
        blocks: int | None = None,
        provider: str | None = None,
        own_key: bool | None = None,
    ) -> answers.VmDisks:
        """Add a disk to a powered-off VM; a disk of an encrypted VM is encrypted.

        keystead vm add-disk vm-01
        keystead vm add-disk vm-01 --provider kms-provider

        The disk uses the VM's key; with ``provider`` or ``own_key`` it gets a new key of its
        own [KEY-04].

        blocks: Size in blocks of 4,096 bytes.
        provider: Encrypt the disk with its own key of this key provider.
        own_key: Encrypt the disk with its own key of the default provider.
        The answer is a ``VmDisks``.
        """

    def vm_add_tpm(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Add a virtual TPM to a powered-off VM; encrypts the VM's home, not its disks.

        keystead vm add-tpm vm-08
        keystead vm add-tpm vm-08 --provider kms-provider

        The VM must have EFI firmware and hardware version 14 or later [VTPM-02].

        provider: Key provider. Default: the default provider.
        The answer is a ``Vm``.
        """

    def vm_clone(
        self,
        vm: str,
        clone: str,
        *,
        host: str | None = None,
        recrypt: bool | None = None,
        provider: str | None = None,
        tpm: Literal["", "copy", "replace"] | None = None,
        template: bool | None = None,
    ) -> answers.Vm:
        """Clone a VM or a template; the clone is powered off and uses the same keys.

        keystead vm clone vm-01 vm-01-copy
        keystead vm clone vm-01 vm-01-copy --recrypt --tpm replace

        CloneVM_Task, a full clone [CLN-01]. The source VM may run.

        host: Host in the same cluster. Default: the host of a running source, else the
        emptiest.
        recrypt: Encrypt the clone with a new KEK and new DEKs.
        provider: Key provider for --recrypt. Default: the default provider.
        tpm: Virtual TPM of the clone: a copy or a new one. Default: vCenter's knob [VTPM-07].
        template: Make the clone a template.
        The answer is a ``Vm``.
        """

    def vm_create(
        self,
        vm: str,
        *,
        cluster: str | None = None,
        host: str | None = None,
        encrypted: bool | None = None,
        provider: str | None = None,
        firmware: str | None = None,
        hardware: int | None = None,
    ) -> answers.Vm:
        """Create a VM, powered off.

        keystead vm create vm-07 --encrypted
        keystead vm create vm-08 --host esxi-002

        A virtual TPM needs ``firmware`` efi and ``hardware`` 14 or later.

        cluster: Cluster. Default: the cluster of the host, else the first one.
        host: Host. Default: the emptiest host of the cluster.
        encrypted: Create it encrypted, under a new key.
        provider: Key provider. Default: the default provider.
        firmware: efi or bios; a virtual TPM needs efi.
        hardware: Virtual hardware version.
        The answer is a ``Vm``.
        """

    def vm_decrypt(self, vm: str) -> answers.Vm:
        """Decrypt a powered-off VM [CLN-02].

        keystead vm decrypt vm-01
        keystead vm decrypt vm-01 -o json

        The answer is a ``Vm``.
        """

    def vm_destroy(self, vms: Sequence[str]) -> answers.VmRemovalList:
        """Delete VMs and their files; hosts remove the VMs' keys, the key server keeps them
        [STD-17].

        keystead vm destroy vm-01
        keystead vm destroy 'vm-[01-03]'

        The VMs must be powered off. If one is refused, the others are still deleted.

        vms: Names or selectors: vm-[01-04], all.
        The answer is a ``VmRemovalList``.
        """

    def vm_encrypt(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Encrypt a powered-off VM under a new key.

        keystead vm encrypt vm-08
        keystead vm encrypt vm-08 --provider kms-provider

        The host becomes safe if the user has the privilege to register hosts [HEM-02].

        provider: Key provider. Default: the default provider.
        The answer is a ``Vm``.
        """

    def vm_guest_challenge(
        self, vm: str, nonce: str, *, blocks: Sequence[int] | None = None
    ) -> answers.GuestAnswer:
        """Make the guest read, check and rewrite ``blocks``, and answer ``nonce`` from its disk.

        The answer is a ``GuestAnswer``.
        """

    def vm_guest_write(self, vm: str, marker: str) -> answers.GuestAnswer:
        """Make the guest fill its disk with blocks derived from ``marker``.

        The answer is a ``GuestAnswer``.
        """

    def vm_migrate(
        self, vm: str, host: str, *, to_vcenter: str | None = None, to_user: str | None = None
    ) -> answers.Migration:
        """Migrate a VM to another host: by vMotion if it runs, else by registering it there.

        keystead vm migrate vm-01 --host esxi-002
        keystead vm migrate vm-01 --host esxi-003 --to-vcenter vcenter-b
        keystead vm migrate vm-01 --host esxi-002 -o json

        MigrateVM_Task, or RelocateVM_Task with ``to_vcenter``. The other vCenter must have a
        key provider of the same name with the same keys [MOB-07]. If the migration is
        refused, the VM keeps running on its host and is not locked [MOB-05].

        host: Destination host; in the same cluster without --to-vcenter.
        to_vcenter: vCenter of the destination host, if another one.
        to_user: User at the other vCenter. Default: the user of this command.
        The answer is a ``Migration``.
        """

    def vm_off(
        self,
        *,
        vms: Sequence[str] | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.VmPowerList:
        """Power VMs off.

        keystead vm off vm-01
        keystead vm off vm-01 --host esxi-001 --on-host

        If one VM is refused, the others are still powered off.

        vms: Names or selectors: vm-[01-04], all. Default: all VMs of --host.
        host: All VMs of this host.
        on_host: Act on the host itself, as its administrator, without vCenter; needs --host.
        The answer is a ``VmPowerList``.
        """

    def vm_on(
        self,
        *,
        vms: Sequence[str] | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.VmPowerList:
        """Power VMs on.

        keystead vm on vm-01 vm-02
        keystead vm on --host esxi-001

        If one VM is refused, the others are still powered on. Automated DRS chooses the hosts
        [HA-03]. ``on_host`` also works while vCenter is down.

        vms: Names or selectors: vm-[01-04], all. Default: all VMs of --host.
        host: All VMs of this host.
        on_host: Act on the host itself, as its administrator, without vCenter; needs --host.
        The answer is a ``VmPowerList``.
        """

    def vm_recrypt(
        self,
        vm: str,
        *,
        provider: str | None = None,
        deep: bool | None = None,
        disk: int | None = None,
    ) -> answers.Vm:
        """Recrypt an encrypted VM under a new key; it may run [REK-01].

        keystead vm recrypt vm-01
        keystead vm recrypt vm-01 --disk 2 --provider second-provider

        Shallow recrypt wraps the VM's DEKs under a new KEK, also one of another key provider.
        With ``deep`` the DEKs are new too [REK-02].

        provider: Key provider. Default: the default provider.
        deep: Deep recrypt: new DEKs, data rewritten; the VM must be powered off.
        disk: Only this hard disk. Default: all [KEY-04].
        The answer is a ``Vm``.
        """

    def vm_register(
        self,
        vm: str,
        *,
        cluster: str | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.Vm:
        """Register a VM from its files on the datastore; without its keys it is locked [REG-01].

        keystead vm register vm-01
        keystead vm register vm-01 --host esxi-002
        keystead vm register vm-01 --host esxi-002 --on-host

        ``on_host`` followed by `vm on` repeats what HA does after a host failure [HA-01]; it
        also works while vCenter is down. A VM that still runs on another host can be
        registered, but not powered on until the other host releases its files.

        cluster: Cluster. Default: the cluster of the host, else the first one.
        host: Host. Default: the emptiest host of the cluster.
        on_host: Act on the host itself, as its administrator, without vCenter; needs --host.
        The answer is a ``Vm``.
        """

    def vm_remove_disk(self, vm: str, disk: int) -> answers.VmDisks:
        """Remove a disk and its data from a powered-off VM: vm-01 2 is "Hard disk 2".

        keystead vm remove-disk vm-01 2
        keystead vm remove-disk vm-01 2 -o json

        The key of the disk is not needed [LOCK-03].

        The answer is a ``VmDisks``.
        """

    def vm_remove_tpm(self, vm: str) -> answers.Vm:
        """Remove the virtual TPM of a powered-off VM; its content is lost.

        keystead vm remove-tpm vm-08
        keystead vm remove-tpm vm-08 -o json

        The VM's home is decrypted unless a disk is encrypted [VTPM-03].

        The answer is a ``Vm``.
        """

    def vm_set_migrate_encryption(
        self, vm: str, policy: Literal["disabled", "opportunistic", "required"]
    ) -> answers.Vm:
        """Set encrypted vMotion of an unencrypted VM: disabled, opportunistic or required.

        keystead vm set-migrate-encryption vm-08 disabled
        keystead vm set-migrate-encryption vm-08 required -o json

        ReconfigVM_Task, migrateEncryption. vMotion of an encrypted VM is always encrypted
        [MOB-02].

        The answer is a ``Vm``.
        """

    def vm_snapshot_create(
        self, vm: str, snapshot: str, *, memory: bool | None = None
    ) -> answers.Vm:
        """Take a snapshot of a VM's disks and virtual TPM (CreateSnapshot_Task).

        keystead vm snapshot create vm-01 before
        keystead vm snapshot create vm-01 running --memory

        The VM may run. A VM with a snapshot cannot be encrypted, decrypted or deep recrypted
        [REK-02, CLN-02].

        snapshot: Name of the snapshot, unique for its VM.
        memory: Include the memory of a running VM.
        The answer is a ``Vm``.
        """

    def vm_snapshot_remove(self, vm: str, snapshot: str) -> answers.Vm:
        """Delete a snapshot (RemoveSnapshot_Task); the VM does not change.

        keystead vm snapshot remove vm-01 before
        keystead vm snapshot remove vm-01 before -o json

        snapshot: Name of the snapshot, unique for its VM.
        The answer is a ``Vm``.
        """

    def vm_snapshot_revert(
        self, vm: str, snapshot: str, *, suppress_power_on: bool | None = None
    ) -> answers.Vm:
        """Revert a VM to a snapshot (RevertToSnapshot_Task).

        keystead vm snapshot revert vm-01 before
        keystead vm snapshot revert vm-01 running --suppress-power-on

        The VM is powered off afterwards; it runs if the snapshot includes its memory. The key
        of the VM's home must be available [VTPM-06]; a VM that runs afterwards needs all its
        keys.

        snapshot: Name of the snapshot, unique for its VM.
        suppress_power_on: Leave the VM powered off, even if the snapshot includes its memory.
        The answer is a ``Vm``.
        """

    def vm_template(self, vm: str, *, off: bool | None = None) -> answers.Vm:
        """Convert a powered-off VM to a template (MarkAsTemplate), or back with --off.

        keystead vm template vm-01
        keystead vm template vm-01 --off

        A template can be cloned, but not powered on.

        off: Convert the template back to a VM.
        The answer is a ``Vm``.
        """

    def vm_unlock(self, vm: str) -> answers.Vm:
        """Unlock a VM (CryptoUnlock_Task): vCenter pushes its keys to the host now [LOCK-05].

        keystead vm unlock vm-01
        keystead vm unlock vm-01 -o json

        Refused (KS-PRODUCT-001) while the cause of the lock persists.

        The answer is a ``Vm``.
        """

    def vm_unregister(
        self, vms: Sequence[str], *, host: str | None = None, on_host: bool | None = None
    ) -> answers.VmRemovalList:
        """Unregister VMs from vCenter; files stay, hosts remove the VMs' keys [STD-17].

        keystead vm unregister vm-01
        keystead vm unregister 'vm-[01-03]'
        keystead vm unregister vm-01 --host esxi-001 --on-host

        The VMs must be powered off. If one is refused, the others are still unregistered.
        Their keys stay at the key server [KEY-03]. ``on_host`` removes only the host's own
        registration and no keys.

        vms: Names or selectors: vm-[01-04], all.
        host: Host for --on-host.
        on_host: Act on the host itself, as its administrator, without vCenter; needs --host.
        The answer is a ``VmRemovalList``.
        """

    def vsan_describe(self, cluster: str) -> answers.Vsan:
        """Describe a cluster's vSAN: encryption, disk groups, objects.

        keystead vsan describe cluster-a
        keystead vsan describe cluster-a -o json

        The answer is a ``Vsan``.
        """

    def vsan_disable(self, cluster: str) -> answers.Vsan:
        """Disable vSAN encryption of a cluster; its data is rewritten in clear text.

        keystead vsan disable cluster-a
        keystead vsan disable cluster-a -o json

        The answer is a ``Vsan``.
        """

    def vsan_disk_add(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Add a disk to a host's disk group; encrypted if the group is.

        keystead vsan disk-add esxi-001 group-1 disk-3
        keystead vsan disk-add esxi-001 group-1 disk-3 -o json

        The answer is a ``Vsan``.
        """

    def vsan_disk_remove(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Remove a disk without components from a host's disk group.

        keystead vsan disk-remove esxi-001 group-1 disk-3
        keystead vsan disk-remove esxi-001 group-1 disk-3 -o json

        The answer is a ``Vsan``.
        """

    def vsan_enable(
        self, cluster: str, provider: str, *, erase_disks_before_use: bool | None = None
    ) -> answers.Vsan:
        """Enable vSAN encryption of a cluster, or change its key provider.

        keystead vsan enable cluster-a --provider kms-provider
        keystead vsan enable cluster-a --provider native-provider -o json

        provider: Key provider; vSAN does not use the default one.
        erase_disks_before_use: Not supported: refused.
        The answer is a ``Vsan``.
        """

    def vsan_health(self, cluster: str) -> answers.VsanHealthReport:
        """Run the encryption tests of vSAN health on vCenter and every host.

        keystead vsan health cluster-a
        keystead vsan health cluster-a -o yaml

        The answer is a ``VsanHealthReport``.
        """

    def vsan_mount(self, host: str) -> answers.Vsan:
        """Retry to mount a host's disk groups with the keys that are available now.

        keystead vsan mount esxi-001
        keystead vsan mount esxi-001 -o json

        The answer is a ``Vsan``.
        """

    def vsan_object_create(
        self, cluster: str, object: str, *, blocks: int | None = None
    ) -> answers.Vsan:
        """Create a vSAN object on three hosts, or recreate its lost components.

        keystead vsan object-create cluster-a papers
        keystead vsan object-create cluster-a papers --blocks 8

        An object has two replicas and a witness.

        blocks: Size in blocks of 4,096 bytes.
        The answer is a ``Vsan``.
        """

    def vsan_object_read(
        self,
        host: str,
        object: str,
        *,
        nonce: str | None = None,
        blocks: Sequence[int] | None = None,
    ) -> answers.VsanObjectContent:
        """Read blocks of a host's replica from disk, and print their digest.

        keystead vsan object-read esxi-001 object-1
        keystead vsan object-read esxi-001 object-1 3 5

        nonce: Prefix of the digested data.
        blocks: Block numbers. Default: 0.
        The answer is a ``VsanObjectContent``.
        """

    def vsan_object_write(self, host: str, object: str, marker: str) -> answers.VsanObjectContent:
        """On a host itself, fill its replica of an object with blocks derived from ``marker``.

        The answer is a ``VsanObjectContent``.
        """

    def vsan_rekey(
        self,
        cluster: str,
        *,
        deep: bool | None = None,
        allow_reduced_redundancy: bool | None = None,
    ) -> answers.Vsan:
        """Rekey a cluster's vSAN: new KEK and host key, and with --deep new DEKs.

        keystead vsan rekey cluster-a
        keystead vsan rekey cluster-a --deep --allow-reduced-redundancy

        A deep rekey changes one disk group after the other.

        deep: Also create new DEKs, one for each disk.
        allow_reduced_redundancy: Rebuild data that cannot be evacuated from other replicas.
        The answer is a ``Vsan``.
        """

class AsyncCommands:
    """Every command of a lab."""

    async def alarm_acknowledge(self, host: str) -> answers.Host:
        """Acknowledge a host's recovery key alarm: the key is stored in a safe place."""

    async def chaos_play(self, run: str) -> answers.Verdict:
        """Play the plan of a prepared run folder of this machine; one run at a time."""

    async def chaos_stop(self, *, run: str | None = None) -> answers.RunStopped:
        """Stop a run or a load on a running lab, and heal the faults that it injected."""

    async def cluster_crypto_mode(
        self,
        cluster: str,
        mode: Literal["forceEnable", "onDemand"],
        *,
        key: str | None = None,
        provider: str | None = None,
    ) -> answers.Cluster:
        """Set a cluster's encryption mode (SetCryptoMode): onDemand or forceEnable [HEM-05]."""

    async def cluster_default_provider(
        self, cluster: str, *, provider: str | None = None
    ) -> answers.Cluster:
        """Set a cluster's default key provider; without a name, vCenter's default [STD-02]."""

    async def cluster_set_drs(
        self, cluster: str, drs: Literal["fullyAutomated", "manual", "off", "partiallyAutomated"]
    ) -> answers.Cluster:
        """Set the DRS automation level of a cluster [HA-03]."""

    async def cluster_set_ha(self, cluster: str, ha: Literal["off", "on"]) -> answers.Cluster:
        """Turn vSphere HA on or off: with HA, hosts restart the VMs of a failed host [HA-01]."""

    async def describe_host(self, host: str) -> answers.HostDescription:
        """Describe a host: machine, TPM, key persistence, VMs, and the reasons for its state."""

    async def describe_provider(self, provider: str) -> answers.ProviderDescription:
        """Describe a key provider: its servers, their state, and what prevents its use."""

    async def describe_vm(self, vm: str) -> answers.VmDescription:
        """Describe a VM: power, keys, and why it is locked or not, with the rule and the cure."""

    async def esx(self, host: str, arguments: Sequence[str]) -> answers.EsxcliResult:
        """Run esxcli at a host's console; works while links are cut, not on a powered-off host."""

    async def fault_inject(
        self,
        kind: str,
        *,
        values: Mapping[str, Any] | None = None,
        id: str | None = None,
        lease_s: float | None = None,
        seed: int | None = None,
    ) -> answers.Fault:
        """Inject a fault by hand: any kind of fault that experiment files can name."""

    async def get_alarms(self) -> answers.AlarmList:
        """Active alarms of vCenter and their causes."""

    async def get_audit(self, *, kms: str | None = None) -> answers.AuditList:
        """Show a key server's audit trail: which client did what to which key."""

    async def get_clock(self) -> answers.LabClock:
        """The time of the lab, for programs: what its nodes stamp tasks and events with."""

    async def get_clusters(self) -> answers.ClusterList:
        """Clusters with their encryption mode, default key provider and host key."""

    async def get_directory(self) -> answers.Directory:
        """The nodes and VMs of this lab, which the selectors of experiments are resolved
        against.
        """

    async def get_events(
        self, *, after: int | None = None, limit: int | None = None
    ) -> answers.EventList:
        """vCenter's events with a number above ``after``, oldest first, at most ``limit``."""

    async def get_faults(self) -> answers.FaultList:
        """Active faults, oldest first; times are lab seconds since the start of the lab."""

    async def get_host_view(self, host: str) -> answers.HostView:
        """A host's view of itself, from its console; works while its links are cut."""

    async def get_hosts(self) -> answers.HostList:
        """Hosts in vCenter's view, with the power state of their machines."""

    async def get_keys(self) -> answers.KeyList:
        """Keys in vCenter's inventory: availability at the key provider, and users [STD-20]."""

    async def get_kms(self) -> answers.KeyServerList:
        """Key servers with the number of their keys by state, read from the servers."""

    async def get_links(self) -> answers.LinkList:
        """Links in each direction, with their active link rules."""

    async def get_machines(self) -> answers.MachineList:
        """Machines of the lab: state, release, clock."""

    async def get_messages(
        self,
        *,
        node: str | None = None,
        kind: Literal["error", "event", "kmip", "reply", "request", "wrong"] | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> answers.MessageList:
        """What travels in the lab now, oldest first: messages of the bus, and what clients do at
        key servers over KMIP. Keys and all binary data are shown as fingerprints.
        """

    async def get_nodes(self) -> answers.NodeList:
        """All nodes of the lab: machine state, boot count, screen, message counters."""

    async def get_providers(self) -> answers.ProviderList:
        """Key providers of vCenter with the state of their key servers [STD-03]."""

    async def get_roles(self) -> answers.RoleList:
        """Roles of vCenter with the privileges that each has and lacks."""

    async def get_status(self) -> answers.LabStatus:
        """A summary of the lab: nodes by state, VMs by state, active faults, processes."""

    async def get_tasks(self, *, running: bool | None = None) -> answers.TaskList:
        """vCenter's recent tasks, oldest first, with their objects and results."""

    async def get_tpm(self) -> answers.TpmList:
        """The TPM of each host."""

    async def get_trust_authority(self) -> answers.TrustAuthority:
        """Items of the Trust Authority, compared across all its services [HLT-01]."""

    async def get_trusted_hosts(self) -> answers.TrustedHostList:
        """Trusted hosts: desired and applied configuration [HLT-02], and attestation."""

    async def get_users(self) -> answers.UserList:
        """Users of vCenter and their roles."""

    async def get_vms(self) -> answers.VmList:
        """VMs in vCenter's view: power, locked or not, missing keys [LOCK-01]."""

    async def heal(
        self,
        *,
        ids: Sequence[str] | None = None,
        all: bool | None = None,
        with_cure: bool | None = None,
    ) -> answers.HealReport:
        """Heal faults and verify that their effects have ended."""

    async def host_add(
        self, *, host: str | None = None, cluster: str | None = None
    ) -> answers.Host:
        """Add a host to vCenter: a removed one, or a new machine, which is powered on."""

    async def host_clear_tpm(self, host: str) -> answers.Host:
        """Clear a host's TPM record in vCenter, so that vCenter accepts the host's present TPM."""

    async def host_crash(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Crash hosts, all at once; written data survives, and the hosts stay off."""

    async def host_disable_crypto(self, host: str) -> answers.Host:
        """Turn off a host's encryption mode: pendingIncapable until its next reboot [HEM-03]."""

    async def host_disconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Disconnect hosts from vCenter until `host reconnect`; they and their VMs keep running."""

    async def host_dump_decrypt(self, host: str, dump: str) -> answers.DumpContent:
        """Decrypt and read a core dump on the host; needs its key in the host's memory."""

    async def host_dump_list(self, host: str) -> answers.DumpList:
        """List core dumps of a host, the key of each, and whether that key is in memory."""

    async def host_dump_remove(self, host: str, dump: str) -> answers.DumpList:
        """Delete a core dump from a host's disk, and list the remaining ones."""

    async def host_dump_write(
        self,
        host: str,
        *,
        dump: str | None = None,
        marker: str | None = None,
        vm: str | None = None,
    ) -> answers.Dump:
        """Write a core dump of a host, encrypted with the host key if the host is safe."""

    async def host_enable_crypto(self, host: str, *, key: str | None = None) -> answers.Host:
        """Turn on a host's encryption mode (ConfigureCryptoKey)."""

    async def host_enter_maintenance(
        self, hosts: Sequence[str], *, evacuate: bool | None = None
    ) -> answers.HostList:
        """Put hosts into maintenance mode, which also lasts across reboots."""

    async def host_exit_maintenance(self, hosts: Sequence[str]) -> answers.HostList:
        """Take hosts out of maintenance mode; no VM is started by it."""

    async def host_pause(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Pause hosts by a signal to their processes: they run on nothing and answer nothing."""

    async def host_power_loss(
        self, hosts: Sequence[str], *, stay_off: bool | None = None
    ) -> answers.HostPowerList:
        """Cut the power of hosts and restore it; only synced data survives."""

    async def host_power_off(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Shut down hosts (or vcenter, kms) cleanly; their state is saved first."""

    async def host_power_on(
        self, hosts: Sequence[str], *, options: Mapping[str, str] | None = None
    ) -> answers.HostPowerList:
        """Power on nodes; returns when each of them has started or halted."""

    async def host_prepare_crypto(self, host: str) -> answers.Host:
        """Prepare a host to receive keys (PrepareCrypto): incapable becomes prepared."""

    async def host_reboot(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Reboot hosts: the configuration is saved, TPM2_Shutdown runs, the boot is measured
        anew.
        """

    async def host_reconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Reconnect hosts to vCenter now; vCenter pushes the keys and settings that they lack
        [B8].
        """

    async def host_reinstall(
        self, hosts: Sequence[str], *, leftover: bool | None = None
    ) -> answers.HostPowerList:
        """Reinstall hosts: their disks are wiped, their TPMs are kept."""

    async def host_remove(self, hosts: Sequence[str]) -> answers.HostRemovalList:
        """Remove hosts and their VMs from vCenter's inventory; the machines do not change."""

    async def host_remove_keys(self, host: str, keys: Sequence[str]) -> answers.RemovedKeyList:
        """Remove keys from a host's key cache, on the host itself; vCenter is not notified."""

    async def host_remove_provider(self, host: str, provider: str) -> answers.HostView:
        """Remove a native key provider from a host, on the host itself."""

    async def host_resume(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Resume paused hosts."""

    async def host_rollback(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Roll back an upgrade: boot the previous release and configuration from the other boot
        bank.
        """

    async def host_upgrade(self, hosts: Sequence[str], release: str) -> answers.HostPowerList:
        """Upgrade hosts in maintenance mode to a later release, and reboot them."""

    async def key_add(self, key: str) -> answers.KnownKey:
        """Add a key of a key server to vCenter's list (AddKey); undoes `key remove`."""

    async def key_generate(
        self,
        *,
        provider: str | None = None,
        key_type: Literal["", "rawKey", "wrappedKey"] | None = None,
    ) -> answers.KnownKey:
        """Generate a key at a key provider (GenerateKey); it is Pre-Active until its first use."""

    async def key_ids(self) -> answers.KnownKeyList:
        """Ids of the keys that vCenter knows (ListKeys)."""

    async def key_remove(self, key: str, *, force: bool | None = None) -> answers.KnownKey:
        """Remove a key from vCenter's list (RemoveKey); the key server keeps it."""

    async def kms_backup(
        self, backup: str, *, kms: Sequence[str] | None = None
    ) -> answers.KeyBackup:
        """Back up key servers; each is stopped for the backup and started again."""

    async def kms_identities(self, kms: str) -> answers.KmsIdentityList:
        """Show a key server's KMIP certificate and the client certificates that it accepts."""

    async def kms_key_activate(self, key: str, *, kms: str | None = None) -> answers.Key:
        """Activate a key (KMIP Activate): Pre-Active becomes Active."""

    async def kms_key_create(self, kms: str) -> answers.Key:
        """Create an Active key at a key server, for use as a primary key."""

    async def kms_key_destroy(self, key: str) -> answers.Fault:
        """Revoke and destroy a key, a fault without undo; `keystead get faults` shows its cure."""

    async def kms_key_grant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Allow the clients of another scope to get this one key."""

    async def kms_key_revoke(self, key: str, *, compromised: bool | None = None) -> answers.Fault:
        """Revoke a key, a fault without undo; `keystead get faults` shows its cure."""

    async def kms_key_show(self, key: str, *, kms: str | None = None) -> answers.Key:
        """Show the attributes of a key at its key server."""

    async def kms_key_ungrant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Withdraw a grant: clients of the other scope can no longer get the key."""

    async def kms_renew_certificate(self, kms: str) -> answers.KmsIdentityList:
        """Renew a key server's certificate; vCenter refuses it until it trusts the new one."""

    async def kms_restore(
        self, backup: str, *, kms: Sequence[str] | None = None
    ) -> answers.KeyBackup:
        """Restore key servers from a backup; later keys and changes are lost, and audited."""

    async def kms_revoke(self, kms: str, client: str) -> answers.KmsIdentityList:
        """Make a key server refuse a client."""

    async def kms_rotate_kek(self, kms: str) -> answers.KeyServer:
        """Create a new KEK at a key server; it is durable when the command returns."""

    async def kms_scope(
        self, kms: str, client: str, *, scope: str | None = None, role: str | None = None
    ) -> answers.KmsIdentityList:
        """Change the scope or the role of a client of a key server."""

    async def kms_set_root(
        self,
        kms: str,
        root: Literal["keyfile", "passphrase", "tpm"],
        *,
        passphrase_file: str | None = None,
    ) -> answers.KeyServer:
        """Seal a key server's KEKs under another root; the keys themselves do not change."""

    async def kms_trust(
        self,
        kms: str,
        *,
        provider: str | None = None,
        certificate: str | None = None,
        role: str | None = None,
        scope: str | None = None,
        node: str | None = None,
        renew: bool | None = None,
    ) -> answers.KmsIdentityList:
        """Make a key server accept a client's certificate."""

    async def link_cut(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Cut a link: messages are lost and senders time out."""

    async def link_delay(
        self,
        a: str,
        b: str,
        delay_s: float,
        *,
        jitter_s: float | None = None,
        one_way: bool | None = None,
        lease_s: float | None = None,
    ) -> answers.Fault:
        """Delay the messages of a link."""

    async def link_dup(
        self,
        a: str,
        b: str,
        share: float,
        *,
        one_way: bool | None = None,
        lease_s: float | None = None,
    ) -> answers.Fault:
        """Send a share of a link's messages twice."""

    async def link_heal(self, a: str, b: str) -> answers.HealReport:
        """Heal all faults of the link between two nodes."""

    async def link_loss(
        self,
        a: str,
        b: str,
        share: float,
        *,
        one_way: bool | None = None,
        lease_s: float | None = None,
    ) -> answers.Fault:
        """Lose a share of a link's messages."""

    async def link_reset(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Reset the KMIP connections of a link between vCenters and key servers, or those of
        clients.
        """

    async def link_stall(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Stall the TLS handshakes of KMIP connections of a link."""

    async def provider_add(
        self,
        provider: str,
        servers: Sequence[str],
        *,
        default: bool | None = None,
        entry: Mapping[str, Any] | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Register a standard key provider; an earlier name restores that provider [LOCK-06]."""

    async def provider_create(
        self,
        provider: str,
        *,
        key_id: str | None = None,
        tpm_required: bool | None = None,
        default: bool | None = None,
    ) -> answers.Provider:
        """Create a native key provider: hosts derive its keys [NKP-01]."""

    async def provider_default(self, provider: str) -> answers.Provider:
        """Set vCenter's default key provider, for new keys [STD-02]."""

    async def provider_delete(self, provider: str) -> answers.Fault:
        """Delete a key provider, even one in use; `keystead get faults` shows the cure."""

    async def provider_export(
        self, provider: str, file: str, *, password_file: str | None = None
    ) -> answers.ProviderBackup:
        """Export a native provider to a PKCS#12 file. Keep the file: only it restores the
        provider.
        """

    async def provider_import(
        self,
        file: str,
        *,
        password_file: str | None = None,
        default: bool | None = None,
        dry_run: bool | None = None,
    ) -> answers.ProviderBackup:
        """Import a native provider from a backup: a deleted one, or one of another vCenter."""

    async def provider_renew_certificate(self, provider: str) -> answers.ProviderTrustList:
        """Renew vCenter's client certificate; the servers refuse it until they trust the new
        one.
        """

    async def provider_set(
        self,
        provider: str,
        *,
        servers: Sequence[str] | None = None,
        entry: Mapping[str, Any] | None = None,
        keys: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Change the entries of ``servers`` of a standard provider; empty: of all its servers.
        Or change what its new keys are [KEY-07].
        """

    async def provider_signing_request(
        self, provider: str, *, new: bool | None = None
    ) -> answers.SigningRequest:
        """Print a certificate signing request for vCenter, for the key servers' owner to sign."""

    async def provider_trust(self, provider: str) -> answers.ProviderTrustList:
        """Show whether vCenter and the KMIP servers of a provider trust each other [STD-03]."""

    async def provider_trust_servers(
        self, provider: str, *, certificate: str | None = None
    ) -> answers.ProviderTrustList:
        """Make vCenter trust the present certificates of a provider's KMIP servers."""

    async def provider_update(
        self, provider: str, *, key_id: str | None = None
    ) -> answers.Provider:
        """Change the id of a native provider's key derivation key. Export the provider
        afterwards.
        """

    async def provider_upload_certificate(
        self, provider: str, chain: Sequence[str], *, key_file: str | None = None
    ) -> answers.ProviderTrustList:
        """Set vCenter's client certificate: issued for its signing request, or with a private
        key.
        """

    async def role_create(
        self,
        role: str,
        *,
        like: str | None = None,
        add: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
    ) -> answers.RoleList:
        """Create a role, from another role with privileges added or removed."""

    async def role_delete(self, role: str) -> answers.RoleList:
        """Delete a role that is not in use."""

    async def role_update(
        self,
        role: str,
        *,
        like: str | None = None,
        add: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
    ) -> answers.RoleList:
        """Change the privileges of a role; the change applies at once to all its users."""

    async def tpm_clear(self, host: str) -> answers.Fault:
        """Clear a host's TPM (new storage seed), a fault without undo; see its cure."""

    async def tpm_inspect(self, host: str) -> answers.Tpm:
        """Show the state of a host's TPM."""

    async def tpm_lockout(self, host: str) -> answers.Tpm:
        """Fail authorizations until a host's TPM is in lockout."""

    async def tpm_pcrs(self, host: str) -> answers.Pcrs:
        """Show PCR 0 to 13 of a host's TPM, in hexadecimal; none while the host is off."""

    async def tpm_swap(self, host: str) -> answers.Fault:
        """Replace a host's TPM with a new one, a fault without undo; see its cure."""

    async def trust_admin(
        self, *, member: str | None = None, remove: bool | None = None
    ) -> answers.TrustAdminList:
        """Step 1: add a user to TrustedAdmins at both vCenters, or remove it [TA-04]."""

    async def trust_cluster(
        self, cluster: str, *, off: bool | None = None
    ) -> answers.TrustedHostList:
        """Step 12: enable the Trusted state of a cluster, or disable it [HLT-02]."""

    async def trust_enable(self) -> answers.TrustAuthority:
        """Step 2: enable the Trust Authority state of the Trust Authority cluster [TA-01]."""

    async def trust_export(
        self,
        item: Literal[
            "base-image", "ca-certificate", "endorsement-key", "principal", "services-information"
        ],
        file: str,
        *,
        host: str | None = None,
    ) -> answers.TrustFile:
        """Steps 3, 4, 5, 11: export an item, such as a principal or a base image, to a file."""

    async def trust_import(self, file: str) -> answers.TrustFile:
        """Steps 6, 7, 8, 12: import an exported item at the vCenter that needs it."""

    async def trust_key_provider(
        self, provider: str, primary_key: str, servers: Sequence[str]
    ) -> answers.TrustAuthority:
        """Step 9: create a trusted key provider with a primary key."""

    async def trust_key_servers(self, provider: str) -> answers.TrustAuthority:
        """Step 10: trust the certificates of the provider's key servers."""

    async def trust_register(
        self, provider: str, *, default: bool | None = None
    ) -> answers.Provider:
        """Step 13: register the trusted key provider at the workload vCenter."""

    async def trust_remediate(
        self, cluster: str, *, delete: bool | None = None
    ) -> answers.TrustedHostList:
        """Apply the desired configuration to a cluster's hosts; --delete removes the applied
        one.
        """

    async def trust_remove(
        self,
        kind: Literal["baseImage", "caCertificate", "endorsementKey", "principal", "provider"],
        item: str,
    ) -> answers.TrustAuthority:
        """Remove an item from the Trust Authority."""

    async def trust_renew_certificate(self) -> answers.TrustedHostList:
        """Renew the STS certificate of the workload vCenter; its principal becomes out of date."""

    async def trust_renew_services(self, services: Sequence[str]) -> answers.TrustAuthority:
        """Reinstall services of the Trust Authority, which gives them new certificates."""

    async def trust_settings(
        self, require_endorsement_keys: bool, require_certificate_validation: bool
    ) -> answers.TrustAuthority:
        """Set how TPMs are accepted: endorsement key in the list, or certified by an imported
        CA.
        """

    async def trust_setup(self) -> answers.TrustedHostList:
        """Do all thirteen steps, as the Lab file says; existing items are kept."""

    async def user_delete(self, user: str) -> answers.UserList:
        """Remove a user's role; the user then has no privileges."""

    async def user_set(self, user: str, role: str) -> answers.UserList:
        """Assign a role to a user; it replaces the user's earlier role."""

    async def vcenter_backup(self, backup: str) -> answers.VcenterCopy:
        """Back up vCenter; it is stopped for the backup and started again."""

    async def vcenter_rebuild(self) -> answers.HostPowerList:
        """Reinstall vCenter: its inventory and its key providers are lost."""

    async def vcenter_restore(self, backup: str) -> answers.VcenterCopy:
        """Restore vCenter from a backup; later changes are lost."""

    async def vm_add_disk(
        self,
        vm: str,
        *,
        blocks: int | None = None,
        provider: str | None = None,
        own_key: bool | None = None,
    ) -> answers.VmDisks:
        """Add a disk to a powered-off VM; a disk of an encrypted VM is encrypted."""

    async def vm_add_tpm(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Add a virtual TPM to a powered-off VM; encrypts the VM's home, not its disks."""

    async def vm_clone(
        self,
        vm: str,
        clone: str,
        *,
        host: str | None = None,
        recrypt: bool | None = None,
        provider: str | None = None,
        tpm: Literal["", "copy", "replace"] | None = None,
        template: bool | None = None,
    ) -> answers.Vm:
        """Clone a VM or a template; the clone is powered off and uses the same keys."""

    async def vm_create(
        self,
        vm: str,
        *,
        cluster: str | None = None,
        host: str | None = None,
        encrypted: bool | None = None,
        provider: str | None = None,
        firmware: str | None = None,
        hardware: int | None = None,
    ) -> answers.Vm:
        """Create a VM, powered off."""

    async def vm_decrypt(self, vm: str) -> answers.Vm:
        """Decrypt a powered-off VM [CLN-02]."""

    async def vm_destroy(self, vms: Sequence[str]) -> answers.VmRemovalList:
        """Delete VMs and their files; hosts remove the VMs' keys, the key server keeps them
        [STD-17].
        """

    async def vm_encrypt(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Encrypt a powered-off VM under a new key."""

    async def vm_guest_challenge(
        self, vm: str, nonce: str, *, blocks: Sequence[int] | None = None
    ) -> answers.GuestAnswer:
        """Make the guest read, check and rewrite ``blocks``, and answer ``nonce`` from its disk."""

    async def vm_guest_write(self, vm: str, marker: str) -> answers.GuestAnswer:
        """Make the guest fill its disk with blocks derived from ``marker``."""

    async def vm_migrate(
        self, vm: str, host: str, *, to_vcenter: str | None = None, to_user: str | None = None
    ) -> answers.Migration:
        """Migrate a VM to another host: by vMotion if it runs, else by registering it there."""

    async def vm_off(
        self,
        *,
        vms: Sequence[str] | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.VmPowerList:
        """Power VMs off."""

    async def vm_on(
        self,
        *,
        vms: Sequence[str] | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.VmPowerList:
        """Power VMs on."""

    async def vm_recrypt(
        self,
        vm: str,
        *,
        provider: str | None = None,
        deep: bool | None = None,
        disk: int | None = None,
    ) -> answers.Vm:
        """Recrypt an encrypted VM under a new key; it may run [REK-01]."""

    async def vm_register(
        self,
        vm: str,
        *,
        cluster: str | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.Vm:
        """Register a VM from its files on the datastore; without its keys it is locked [REG-01]."""

    async def vm_remove_disk(self, vm: str, disk: int) -> answers.VmDisks:
        """Remove a disk and its data from a powered-off VM: vm-01 2 is "Hard disk 2"."""

    async def vm_remove_tpm(self, vm: str) -> answers.Vm:
        """Remove the virtual TPM of a powered-off VM; its content is lost."""

    async def vm_set_migrate_encryption(
        self, vm: str, policy: Literal["disabled", "opportunistic", "required"]
    ) -> answers.Vm:
        """Set encrypted vMotion of an unencrypted VM: disabled, opportunistic or required."""

    async def vm_snapshot_create(
        self, vm: str, snapshot: str, *, memory: bool | None = None
    ) -> answers.Vm:
        """Take a snapshot of a VM's disks and virtual TPM (CreateSnapshot_Task)."""

    async def vm_snapshot_remove(self, vm: str, snapshot: str) -> answers.Vm:
        """Delete a snapshot (RemoveSnapshot_Task); the VM does not change."""

    async def vm_snapshot_revert(
        self, vm: str, snapshot: str, *, suppress_power_on: bool | None = None
    ) -> answers.Vm:
        """Revert a VM to a snapshot (RevertToSnapshot_Task)."""

    async def vm_template(self, vm: str, *, off: bool | None = None) -> answers.Vm:
        """Convert a powered-off VM to a template (MarkAsTemplate), or back with --off."""

    async def vm_unlock(self, vm: str) -> answers.Vm:
        """Unlock a VM (CryptoUnlock_Task): vCenter pushes its keys to the host now [LOCK-05]."""

    async def vm_unregister(
        self, vms: Sequence[str], *, host: str | None = None, on_host: bool | None = None
    ) -> answers.VmRemovalList:
        """Unregister VMs from vCenter; files stay, hosts remove the VMs' keys [STD-17]."""

    async def vsan_describe(self, cluster: str) -> answers.Vsan:
        """Describe a cluster's vSAN: encryption, disk groups, objects."""

    async def vsan_disable(self, cluster: str) -> answers.Vsan:
        """Disable vSAN encryption of a cluster; its data is rewritten in clear text."""

    async def vsan_disk_add(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Add a disk to a host's disk group; encrypted if the group is."""

    async def vsan_disk_remove(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Remove a disk without components from a host's disk group."""

    async def vsan_enable(
        self, cluster: str, provider: str, *, erase_disks_before_use: bool | None = None
    ) -> answers.Vsan:
        """Enable vSAN encryption of a cluster, or change its key provider."""

    async def vsan_health(self, cluster: str) -> answers.VsanHealthReport:
        """Run the encryption tests of vSAN health on vCenter and every host."""

    async def vsan_mount(self, host: str) -> answers.Vsan:
        """Retry to mount a host's disk groups with the keys that are available now."""

    async def vsan_object_create(
        self, cluster: str, object: str, *, blocks: int | None = None
    ) -> answers.Vsan:
        """Create a vSAN object on three hosts, or recreate its lost components."""

    async def vsan_object_read(
        self,
        host: str,
        object: str,
        *,
        nonce: str | None = None,
        blocks: Sequence[int] | None = None,
    ) -> answers.VsanObjectContent:
        """Read blocks of a host's replica from disk, and print their digest."""

    async def vsan_object_write(
        self, host: str, object: str, marker: str
    ) -> answers.VsanObjectContent:
        """On a host itself, fill its replica of an object with blocks derived from ``marker``."""

    async def vsan_rekey(
        self,
        cluster: str,
        *,
        deep: bool | None = None,
        allow_reduced_redundancy: bool | None = None,
    ) -> answers.Vsan:
        """Rekey a cluster's vSAN: new KEK and host key, and with --deep new DEKs."""
