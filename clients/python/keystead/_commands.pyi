"""A method for each command.

Generated: `python -m tests.clients.methods` in a checkout of keystead renews it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keystead import answers

class Commands:
    """Every command of a lab."""

    def alarm_acknowledge(self, host: str) -> answers.Host:
        """Say that a host's recovery key is in a safe place: its alarm ends until there is a new
        key.

        keystead alarm acknowledge esxi-001 -o json
        keystead alarm acknowledge esxi-001

        AcknowledgeAlarm [REC-03]. Every other alarm ends with its cause.

        The answer is a ``Host``.
        """

    def chaos_play(self, run: str) -> answers.Verdict:
        """Play the plan of a prepared run folder of this machine; one run at a time.

        KS-CHAOS-102 while another one is being played.

        The answer is a ``Verdict``.
        """

    def chaos_stop(self, *, run: str | None = None) -> answers.RunStopped:
        """End a run that a running lab plays, or a load on it: all it began is healed, its
        verdict says interrupted.

        keystead chaos stop -n edge
        keystead chaos stop load-lab-1 -n edge

        For a run whose own terminal has gone: the lab goes on with it. Its verdict says 130.
        KS-RUN-001 when no run of that name is being played here.

        run: The run; that which is being played when left out.
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
        """Which hosts of a cluster are kept safe, onDemand or forceEnable, and with which host
        key.

        keystead cluster crypto-mode cluster-a forceEnable
        keystead cluster crypto-mode cluster-a onDemand --provider second-provider

        SetCryptoMode [HEM-05].

        key: Host key of all, PROVIDER/ID.
        provider: Who makes it; the default when left out.
        The answer is a ``Cluster``.
        """

    def cluster_default_provider(
        self, cluster: str, *, provider: str | None = None
    ) -> answers.Cluster:
        """Make a key provider the default of one cluster; none named: vCenter's again [STD-02].

        keystead cluster default-provider cluster-a second
        keystead cluster default-provider cluster-a

        provider: Left out: vCenter's default.
        The answer is a ``Cluster``.
        """

    def cluster_set_drs(
        self, cluster: str, drs: Literal["fullyAutomated", "manual", "off", "partiallyAutomated"]
    ) -> answers.Cluster:
        """What DRS does in a cluster by itself: with an automated level, vCenter chooses at
        power-on.

        keystead cluster set-drs cluster-a fullyAutomated
        keystead cluster set-drs cluster-a off

        Rule [HA-03].

        The answer is a ``Cluster``.
        """

    def cluster_set_ha(self, cluster: str, ha: Literal["off", "on"]) -> answers.Cluster:
        """Turn vSphere HA on or off: hosts restart the VMs of one that fails [HA-01].

        keystead cluster set-ha cluster-a on
        keystead cluster set-ha cluster-a off

        The answer is a ``Cluster``.
        """

    def describe_host(self, host: str) -> answers.HostDescription:
        """A host: machine, TPM, key persistence, its VMs, and why it is as it is.

        keystead describe host esxi-001
        keystead describe host esxi-001 -o yaml

        The answer is a ``HostDescription``.
        """

    def describe_provider(self, provider: str) -> answers.ProviderDescription:
        """A key provider: its servers, their state, and what stands in the way.

        keystead describe provider kms-provider
        keystead describe provider kms-provider -o json

        The answer is a ``ProviderDescription``.
        """

    def describe_vm(self, vm: str) -> answers.VmDescription:
        """A VM: power, keys, and why it is locked or not, with the rule and the cure.

        keystead describe vm vm-01
        keystead describe vm vm-01 -o json

        The answer is a ``VmDescription``.
        """

    def esx(self, host: str, arguments: Sequence[str]) -> answers.EsxcliResult:
        """esxcli at a host's console: works behind cut links, not on a host that is off.

        keystead esx esxi-001 system security keypersistence get
        keystead esx esxi-001 system security keypersistence enable

        Its exit code is that of esxcli.

        arguments: The words after esxcli.
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
        """Begin any fault of experiment files by hand; a hyphen in its name is as good as its
        underscore.

        keystead fault proc.kill on=esxi-002
        keystead fault site.power_loss site=main stagger=30s

        kind: As in experiment files: link.cut.
        values: NAME=VALUE, as in an experiment file.
        id: Its id; made from the kind if left out.
        lease_s: Lab time until it heals by itself; else until `heal`.
        seed: For selectors that draw, such as 25% of role:esxi.
        The answer is a ``Fault``.
        """

    def get_alarms(self) -> answers.AlarmList:
        """The alarms of vCenter that stand now, and why.

        keystead get alarms
        keystead get alarms -o json

        The answer is a ``AlarmList``.
        """

    def get_audit(self, *, kms: str | None = None) -> answers.AuditList:
        """A key server's audit trail: who did what to which key.

        keystead kms audit
        keystead kms audit kms -o json

        kms: Key server; may be left out when there is one.
        The answer is a ``AuditList``.
        """

    def get_clusters(self) -> answers.ClusterList:
        """Clusters: their encryption mode, default key provider, host key.

        keystead get clusters
        keystead get clusters -o wide

        The answer is a ``ClusterList``.
        """

    def get_directory(self) -> answers.Directory:
        """Who is in this lab: plans of experiments are resolved against it.

        The answer is a ``Directory``.
        """

    def get_events(
        self, *, after: int | None = None, limit: int | None = None
    ) -> answers.EventList:
        """vCenter's events with a number above ``after``, oldest first, ``limit`` at most.

        A shorter answer may come for one longer log: ask again after its last, until none
        come.

        The answer is a ``EventList``.
        """

    def get_faults(self) -> answers.FaultList:
        """Faults in force, oldest first; times are lab seconds since the lab began.

        keystead get faults
        keystead get faults -o name

        The answer is a ``FaultList``.
        """

    def get_host_view(self, host: str) -> answers.HostView:
        """A host's own view of itself, at its console: works behind cut links.

        The answer is a ``HostView``.
        """

    def get_hosts(self) -> answers.HostList:
        """Hosts as vCenter sees them, with the state of their machines.

        keystead get hosts
        keystead get hosts esxi-001 esxi-002 -o wide

        The answer is a ``HostList``.
        """

    def get_keys(self) -> answers.KeyList:
        """Every key of vCenter's inventory: whether its provider can give it, and who uses it
        [STD-20].

        keystead get keys
        keystead get keys -o wide

        The answer is a ``KeyList``.
        """

    def get_kms(self) -> answers.KeyServerList:
        """Key servers, with their keys by state, asked of the servers themselves.

        keystead get kms
        keystead get kms -o yaml

        The answer is a ``KeyServerList``.
        """

    def get_links(self) -> answers.LinkList:
        """Links in each direction, with the rules on them.

        keystead get links
        keystead get links -o json

        Those of vCenter to key servers and hosts, and every other link with a rule.

        The answer is a ``LinkList``.
        """

    def get_machines(self) -> answers.MachineList:
        """Machines that the lab stands on: who has joined, how far, with which clock.

        keystead get machines
        keystead get machines -o wide

        CLOCK is how far a machine's clock is ahead, ERROR within how much that is known. Time
        of day is in the wide table: nothing of a lab goes by it.

        The answer is a ``MachineList``.
        """

    def get_nodes(self) -> answers.NodeList:
        """Every node of the lab: machine state, boots, screen, counters of its bus.

        keystead get nodes
        keystead get nodes vcenter kms -o json

        The answer is a ``NodeList``.
        """

    def get_providers(self) -> answers.ProviderList:
        """Key providers of vCenter, with the state of their servers [STD-03].

        keystead get providers
        keystead get providers -o name

        The answer is a ``ProviderList``.
        """

    def get_roles(self) -> answers.RoleList:
        """Roles of vCenter: what each may do, and what it lacks.

        keystead get roles
        keystead get roles NoCryptoAdmin -o json

        The answer is a ``RoleList``.
        """

    def get_status(self) -> answers.LabStatus:
        """The lab in short: nodes by state, VMs by state, faults in force, processes.

        The answer is a ``LabStatus``.
        """

    def get_tasks(self, *, running: bool | None = None) -> answers.TaskList:
        """vCenter's recent tasks, oldest first: what it was asked, of what, and how it ended.

        keystead get tasks
        keystead get tasks --running -w

        running: Only what has not ended.
        The answer is a ``TaskList``.
        """

    def get_tpm(self) -> answers.TpmList:
        """The TPM under each host.

        keystead get tpm
        keystead get tpm -o wide

        The answer is a ``TpmList``.
        """

    def get_trust_authority(self) -> answers.TrustAuthority:
        """The items of a Trust Authority, compared over all its services [HLT-01].

        keystead get trust-authority
        keystead get trust-authority -o json

        The answer is a ``TrustAuthority``.
        """

    def get_trusted_hosts(self) -> answers.TrustedHostList:
        """Trusted hosts: desired against applied [HLT-02], and their attestation.

        keystead get trusted-hosts
        keystead get trusted-hosts -o json

        The answer is a ``TrustedHostList``.
        """

    def get_users(self) -> answers.UserList:
        """Users of vCenter, and their roles.

        keystead get users
        keystead get users -o json

        The answer is a ``UserList``.
        """

    def get_vms(self) -> answers.VmList:
        """VMs as vCenter sees them: power, locked or not, keys that are missing [LOCK-01].

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
        """Take faults back and see them gone; what has no undo stays listed with its cure.

        keystead heal --all
        keystead heal tpm-clear-1 --with-cure

        Exit code 0: all that can be taken back, and with --with-cure all, was seen gone.

        all: All faults.
        with_cure: Perform the cure of what has no undo.
        The answer is a ``HealReport``.
        """

    def host_add(self, *, host: str | None = None, cluster: str | None = None) -> answers.Host:
        """Add a host in vCenter: one that was removed, or a new machine, which is powered on.

        keystead host add
        keystead host add esxi-004 --cluster cluster-a

        A new machine is like those of its cluster.

        host: Its name; the next number when left out.
        cluster: Its cluster; the first that has a host.
        The answer is a ``Host``.
        """

    def host_clear_tpm(self, host: str) -> answers.Host:
        """Have vCenter forget a host's recorded TPM, and accept the one it has now.

        keystead host clear-tpm esxi-001
        keystead host clear-tpm esxi-001 -o json

        For a replaced board, a cleared TPM, or a new build that is as it should be [ATT-09].

        The answer is a ``Host``.
        """

    def host_crash(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Crash hosts, all at once: what was written survives; they stay off.

        keystead host crash esxi-001
        keystead host crash vcenter

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_disable_crypto(self, host: str) -> answers.Host:
        """Turn a host's encryption mode off: pendingIncapable until it reboots [HEM-03].

        keystead host disable-crypto esxi-003
        keystead host disable-crypto esxi-003 -o json

        It stays off until an encryption task or ``HostEnableCrypto`` asks for it.

        The answer is a ``Host``.
        """

    def host_disconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Have vCenter let hosts alone until they are reconnected: they and their VMs go on.

        keystead host disconnect esxi-001
        keystead host disconnect 'esxi-[001-003]'

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostList``.
        """

    def host_dump_decrypt(self, host: str, dump: str) -> answers.DumpContent:
        """Read a core dump in clear, at the host; without its host key in memory it is refused.

        keystead host dump decrypt esxi-001 hostd-zdump.000
        keystead host dump decrypt esxi-001 before-the-outage -o json

        Rule [DUMP-02].

        The answer is a ``DumpContent``.
        """

    def host_dump_list(self, host: str) -> answers.DumpList:
        """Core dumps of a host, by which host key each is locked, and whether that is in memory.

        keystead host dump list esxi-001
        keystead host dump list esxi-001 -o json

        The answer is a ``DumpList``.
        """

    def host_dump_remove(self, host: str, dump: str) -> answers.DumpList:
        """Remove a core dump from a host's disk; those that are left are listed.

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
        """Write a core dump of the host's agent: encrypted under the host key when the host is
        safe.

        keystead host dump write esxi-001
        keystead host dump write esxi-001 before-the-outage --marker 'found again'
        keystead host dump write esxi-001 --vm vm-01

        A dump that is there is not written again [DUMP-01].

        dump: Its name; the next number when left out.
        marker: Text that goes into it, so that who reads it can tell.
        vm: Of the process of this running VM, under the VM's key if it has one.
        The answer is a ``Dump``.
        """

    def host_enable_crypto(self, host: str, *, key: str | None = None) -> answers.Host:
        """Turn a host's encryption mode on (ConfigureCryptoKey): host key, VM keys, unlocking.

        keystead host enable-crypto esxi-003
        keystead host enable-crypto esxi-003 --key
        kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001

        Its VMs are unlocked by it [LOCK-05].

        key: A host key for this host alone, provider/id; its own, its cluster's, or a new
        one.
        The answer is a ``Host``.
        """

    def host_enter_maintenance(
        self, hosts: Sequence[str], *, evacuate: bool | None = None
    ) -> answers.HostList:
        """Put hosts into maintenance mode, over reboots too: no VM comes or starts there.

        keystead host enter-maintenance esxi-001 --evacuate
        keystead host enter-maintenance 'esxi-[001-002]'

        Refused while VMs run on one of them.

        hosts: Names or selectors: esxi-[001-003], site:edge.
        evacuate: Move their running VMs to other hosts first, as automated DRS does [HA-03].
        The answer is a ``HostList``.
        """

    def host_exit_maintenance(self, hosts: Sequence[str]) -> answers.HostList:
        """Let VMs come to hosts again; nothing is started because of it.

        keystead host exit-maintenance esxi-001
        keystead host exit-maintenance role:esxi

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostList``.
        """

    def host_pause(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Stop the processes of hosts by signal: neither dead nor answering.

        keystead host pause esxi-001
        keystead host pause kms

        A node that shares its process with others is held alone.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPauseList``.
        """

    def host_power_loss(
        self, hosts: Sequence[str], *, stay_off: bool | None = None
    ) -> answers.HostPowerList:
        """Pull hosts' power; it comes back at once, unless --stay-off. Only synced bytes
        survive.

        keystead host power-loss esxi-001
        keystead host power-loss site:main --stay-off

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        stay_off: Leave them without power.
        The answer is a ``HostPowerList``.
        """

    def host_power_off(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Shut hosts (or vcenter, kms) down orderly: what they hold is saved first.

        keystead host power-off esxi-001
        keystead host power-off kms

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_power_on(
        self, hosts: Sequence[str], *, options: Mapping[str, str] | None = None
    ) -> answers.HostPowerList:
        """Press the power button of these nodes; returns when each has started or halted.

        Nodes of one role start together, a role after the one before it has started.
        ``options`` are typed at the boot loader: ``encryptionRecoveryKey`` of a host,
        ``kmsPassphrase`` of a key server whose keys that opens, ``acceptRollback`` of one
        that stops at an older database.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_prepare_crypto(self, host: str) -> answers.Host:
        """PrepareCrypto: an incapable host may receive keys, and has no host key yet.

        keystead host prepare-crypto esxi-003
        keystead host prepare-crypto esxi-003 -o json

        The answer is a ``Host``.
        """

    def host_reboot(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Reboot hosts orderly: archive saved, TPM2_Shutdown, fresh measured boot.

        keystead host reboot esxi-001
        keystead host reboot 'esxi-[001-003]'

        It returns when vCenter has seen the hosts' VMs as the hosts do, where it can hear
        them.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_reconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Have vCenter connect hosts now, and bring what they miss [B8].

        keystead host reconnect esxi-001
        keystead host reconnect role:esxi

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostList``.
        """

    def host_reinstall(
        self, hosts: Sequence[str], *, leftover: bool | None = None
    ) -> answers.HostPowerList:
        """Install hosts anew: their disks are wiped, their TPMs stay as they were.

        keystead host reinstall esxi-001
        keystead host reinstall esxi-001 --leftover

        Configuration, persisted keys and the list of VMs are gone. Files of VMs lie on the
        datastore: register them again. A key that is left over stays in the TPM, which cannot
        seal then [CFG-01].

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        leftover: Leave a key of the old installation in their TPMs.
        The answer is a ``HostPowerList``.
        """

    def host_remove(self, hosts: Sequence[str]) -> answers.HostRemovalList:
        """Take hosts and their VMs out of vCenter's inventory; the machines stay as they are.

        keystead host remove esxi-003
        keystead host remove esxi-003 -o json

        Refused while VMs run on a host that is connected.

        hosts: Names or selectors: esxi-[001-003], site:edge.
        The answer is a ``HostRemovalList``.
        """

    def host_remove_keys(self, host: str, keys: Sequence[str]) -> answers.RemovedKeyList:
        """Remove keys from a host's cache and store, at the host: vCenter is not told.

        keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        -o json

        Keys leave the cache, used or not, and by the knob ``store_follows_cache`` the store.
        vCenter brings them again when it looks next [STD-13]. Running VMs go on [LOCK-04],
        and so does a host whose host key it was, until its next boot.

        keys: Keys, provider/id each.
        The answer is a ``RemovedKeyList``.
        """

    def host_remove_provider(self, host: str, provider: str) -> answers.HostView:
        """Take a native provider from a host, at the host: vCenter brings it again at its next
        look.

        keystead host remove-provider esxi-003 nkp
        keystead host remove-provider esxi-003 nkp -o json

        Its key derivation key goes with it [NKP-15]; cached keys stay.

        The answer is a ``HostView``.
        """

    def host_resume(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Let paused processes go on.

        keystead host resume esxi-001
        keystead host resume role:esxi

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPauseList``.
        """

    def host_rollback(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Boot the other boot bank: the release before the upgrade, with its configuration of
        then.

        keystead host rollback esxi-001
        keystead host rollback 'esxi-[001-003]' -o json

        A host that runs must be in maintenance mode; one that was off stays off, and boots it
        next. The later release is gone, and so is all that its configuration got since
        [UPG-02].

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        The answer is a ``HostPowerList``.
        """

    def host_upgrade(self, hosts: Sequence[str], release: str) -> answers.HostPowerList:
        """Install a later release on hosts in maintenance mode, and boot it.

        keystead host upgrade esxi-001 --to 8.0U3
        keystead host upgrade 'esxi-[001-003]' --to 7.0U2 -o json

        One host after another; one that was off stays off, and boots it next. The first boot
        from 7.0 U2 on encrypts the configuration [UPG-01]. What the release before booted
        from stays in the other boot bank, for ``HostRollback``.

        hosts: Names or selectors: esxi-[001-003], site:edge, vcenter.
        release: The release, such as 8.0U3.
        The answer is a ``HostPowerList``.
        """

    def key_add(self, key: str) -> answers.KnownKey:
        """Let vCenter know a key that its key server has (AddKey); undoes ``KeyRemove``.

        keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead key add kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

        The answer is a ``KnownKey``.
        """

    def key_generate(self, *, provider: str | None = None) -> answers.KnownKey:
        """Have a provider make a key (GenerateKey); it is Pre-Active until it is used.

        keystead key generate
        keystead key generate --provider second -o json

        provider: Key provider; the default when left out.
        The answer is a ``KnownKey``.
        """

    def key_ids(self) -> answers.KnownKeyList:
        """Keys that vCenter knows (ListKeys); `get keys` also asks whether they can be had.

        keystead key ids
        keystead key ids -o json

        The answer is a ``KnownKeyList``.
        """

    def key_remove(self, key: str, *, force: bool | None = None) -> answers.KnownKey:
        """Let vCenter forget a key; the key server keeps it. With --force its VMs lock at next
        need.

        keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead key remove kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --force

        Hosts that did not confirm within the knob ``request_timeout_s`` that they dropped it
        are named [SC-16].

        force: Also in use, also on the hosts.
        The answer is a ``KnownKey``.
        """

    def kms_backup(self, backup: str, *, kms: Sequence[str] | None = None) -> answers.KeyBackup:
        """Take a backup of key servers; each is stopped for it, and started again.

        keystead kms backup before-the-change
        keystead kms backup nightly --kms kms-1

        Of servers that replicate each other's keys all are copied. A backup of the same name
        is replaced.

        kms: Key server; repeat it. Left out: all.
        The answer is a ``KeyBackup``.
        """

    def kms_identities(self, kms: str) -> answers.KmsIdentityList:
        """Who may come through a key server's door of KMIP, and what it shows.

        keystead kms identities kms-1
        keystead kms identities kms-1 -o json

        The answer is a ``KmsIdentityList``.
        """

    def kms_key_activate(self, key: str, *, kms: str | None = None) -> answers.Key:
        """KMIP Activate: Pre-Active becomes Active.

        keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --kms kms

        kms: Key server; the one that has it.
        The answer is a ``Key``.
        """

    def kms_key_create(self, kms: str) -> answers.Key:
        """Make a key at a key server, as its operator, Active: for a primary key.

        keystead kms key create kms
        keystead kms key create kms -o json

        The answer is a ``Key``.
        """

    def kms_key_destroy(self, key: str) -> answers.Fault:
        """Destroy a key (revoked first): a fault without undo, listed with its cure.

        keystead kms key destroy 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key destroy kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001

        The answer is a ``Fault``.
        """

    def kms_key_grant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Let the clients of another scope get this key, and no other one of its scope.

        keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
        keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b --kms kms -o
        json

        KS-USE-002 when no server has it.

        scope: Another scope than its own; that of a vCenter is its name.
        kms: Key server; all that have the key when left out.
        The answer is a ``Key``.
        """

    def kms_key_revoke(self, key: str, *, compromised: bool | None = None) -> answers.Fault:
        """Revoke a key: a fault without undo, listed with its cure by `keystead get faults`.

        keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --compromised

        KMIP Revoke: Active becomes Deactivated [STD-19].

        compromised: Reason Key Compromise: it becomes Compromised.
        The answer is a ``Fault``.
        """

    def kms_key_show(self, key: str, *, kms: str | None = None) -> answers.Key:
        """A key's attributes at its key server.

        keystead kms key show 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        keystead kms key show kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

        KS-USE-002 when no server has it.

        kms: Key server; the one that has it.
        The answer is a ``Key``.
        """

    def kms_key_ungrant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Let the clients of that scope get the key no more; those that have it keep it.

        keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
        keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b -o json

        KS-USE-002 when no server has it.

        scope: Another scope than its own; that of a vCenter is its name.
        kms: Key server; all that have the key when left out.
        The answer is a ``Key``.
        """

    def kms_renew_certificate(self, kms: str) -> answers.KmsIdentityList:
        """Have a key server show another certificate: vCenter refuses it until it trusts that
        one.

        keystead kms renew-certificate kms-1
        keystead kms renew-certificate kms-1 -o json

        It is on another key [SC-06].

        The answer is a ``KmsIdentityList``.
        """

    def kms_restore(self, backup: str, *, kms: Sequence[str] | None = None) -> answers.KeyBackup:
        """Restore a backup of key servers: what was made or changed since is lost, and audited.

        keystead kms restore before-the-change
        keystead kms restore nightly --kms kms-1

        They are stopped, and start from it. KS-USE-002 when there is no such backup.

        kms: Key server; repeat it. Left out: all.
        The answer is a ``KeyBackup``.
        """

    def kms_revoke(self, kms: str, client: str) -> answers.KmsIdentityList:
        """Have a key server refuse a client from now on.

        keystead kms revoke kms-1 vcenter
        keystead kms revoke kms-1 3f0a9c -o json

        client: Its name; of several of that name, the beginning of its digest.
        The answer is a ``KmsIdentityList``.
        """

    def kms_rotate_kek(self, kms: str) -> answers.KeyServer:
        """Make another KEK, durable when this returns; keys come under it one after another.

        keystead kms rotate-kek kms
        keystead kms rotate-kek kms -o json

        The answer is a ``KeyServer``.
        """

    def kms_scope(
        self, kms: str, client: str, *, scope: str | None = None, role: str | None = None
    ) -> answers.KmsIdentityList:
        """Have a client of a key server share the keys of another scope, or have another role.

        keystead kms scope kms-1 vcenter apps
        keystead kms scope kms-1 3f0a9c --role operator

        From its next message on.

        client: Its name; of several of that name, the beginning of its digest.
        scope: Whose keys it shares; left out: as before.
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
        """Have the key ring sealed by another root; the keys themselves are not touched.

        keystead kms set-root kms --root tpm
        keystead kms set-root kms --root passphrase --passphrase-file secret.txt

        root: keyfile, passphrase or tpm.
        passphrase_file: A file whose first line is the passphrase of root passphrase.
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
        """Have a key server take a client's certificate from now on.

        keystead kms trust kms-1 --provider kms-provider
        keystead kms trust kms-1 --node esxi-001 --renew
        keystead kms trust kms-1 --certificate app.pem --role owner --scope apps

        What is left out of ``role`` and ``scope`` stays as the server has it of that client.
        A new one gets the role of such a node, else client, and the scope of its vCenter or
        of its vSAN, else ``default`` [STD-04, STD-06].

        provider: What vCenter shows for this provider.
        certificate: PEM: a certificate.
        role: client, operator, owner, kps or vsan. Left out: a node's own, or client.
        scope: Whose keys it shares; left out: as before.
        node: What this host of vSAN, or Key Provider Service, shows.
        renew: The node shows another certificate from now on.
        The answer is a ``KmsIdentityList``.
        """

    def link_cut(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Cut a link: senders see silence until their deadline.

        keystead link cut vcenter kms
        keystead link cut vcenter esxi-001 --one-way --for 5m

        one_way: Only what A sends to B.
        lease_s: Lab time until it heals by itself; else until `heal`.
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
        """Let messages of a link come later.

        keystead link delay vcenter kms 2s
        keystead link delay vcenter esxi-001 500ms --jitter 200ms --for 5m

        delay_s: Lab time by which each message comes later.
        jitter_s: Up to that much more, drawn for each message.
        one_way: Only what A sends to B.
        lease_s: Lab time until it heals by itself; else until `heal`.
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

        share: Share of messages: 20%, 0.2.
        one_way: Only what A sends to B.
        lease_s: Lab time until it heals by itself; else until `heal`.
        The answer is a ``Fault``.
        """

    def link_heal(self, a: str, b: str) -> answers.HealReport:
        """Take back every fault of the link between two nodes.

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

        share: Share of messages: 20%, 0.2.
        one_way: Only what A sends to B.
        lease_s: Lab time until it heals by itself; else until `heal`.
        The answer is a ``Fault``.
        """

    def link_reset(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Reset connections (KMIP) of a link, neither end a host; messages pass.

        keystead link reset vcenter kms
        keystead link reset vcenter kms --one-way --for 5m

        With ``one_way`` only those that send something from A to B.

        one_way: Only what A sends to B.
        lease_s: Lab time until it heals by itself; else until `heal`.
        The answer is a ``Fault``.
        """

    def link_stall(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Stall handshakes of connections (KMIP) of a link, neither end a host.

        keystead link stall vcenter kms
        keystead link stall kms vcenter --one-way --for 2m

        one_way: Only what A sends to B.
        lease_s: Lab time until it heals by itself; else until `heal`.
        The answer is a ``Fault``.
        """

    def provider_add(
        self,
        provider: str,
        servers: Sequence[str],
        *,
        default: bool | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Register a standard key provider; under an old name it restores that one [LOCK-06].

        keystead provider add kms-provider --server kms
        keystead provider add outside --server kmip://127.0.0.1:5696 --timeout 5

        A node of the lab is asked as the lab's file says. Trust with a server at an address
        is to be made. `bus:NODE` is refused (KS-USE-003) of a node that takes clients by KMIP
        alone. A server has its address as its name, unless another one stands before it.

        servers: Key server, or kmip://HOST:PORT, or NAME=ADDRESS; repeat it.
        default: Make it the default.
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
        """Make a native key provider: hosts derive its keys [NKP-01]. Export it once before it
        is used.

        keystead provider create nkp
        keystead provider create nkp --tpm-required --default

        A provider that was not exported is not used [NKP-05].

        key_id: A UUID; a fresh one when left out.
        tpm_required: Hosts without a TPM take no part [NKP-12].
        default: Make it the default.
        The answer is a ``Provider``.
        """

    def provider_default(self, provider: str) -> answers.Provider:
        """Make a provider the default for new keys [STD-02].

        keystead provider default kms-provider
        keystead provider default second -o json

        The answer is a ``Provider``.
        """

    def provider_delete(self, provider: str) -> answers.Fault:
        """Delete a key provider (use does not block it): listed with its cure by `keystead get
        faults`.

        keystead provider delete kms-provider
        keystead provider delete second -o json

        Rule [DEL-01].

        The answer is a ``Fault``.
        """

    def provider_export(
        self, provider: str, file: str, *, password_file: str | None = None
    ) -> answers.ProviderBackup:
        """Write the backup of a native provider, a PKCS#12 file. Keep it: nothing else restores
        it.

        keystead provider export nkp nkp.p12 --password-file secret.txt
        keystead provider export nkp nkp.p12

        Without a password the file has the key derivation key in clear [NKP-03]. A file that
        is there is not replaced: KS-USE-003.

        password_file: A file whose first line is the password of the backup.
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
        """Make a native provider of a backup: of one that was deleted, or of another vCenter's.

        keystead provider import nkp.p12 --password-file secret.txt --default
        keystead provider import nkp.p12 --dry-run

        Rules [NKP-04] and [LOCK-06].

        password_file: A file whose first line is the password of the backup.
        default: Make it the default.
        dry_run: Say what is in it and change nothing.
        The answer is a ``ProviderBackup``.
        """

    def provider_renew_certificate(self, provider: str) -> answers.ProviderTrustList:
        """Have vCenter show another certificate: the servers refuse it until they trust that
        one.

        keystead provider renew-certificate kms-provider
        keystead provider renew-certificate kms-provider -o json

        vCenter has signed it itself [SC-08].

        The answer is a ``ProviderTrustList``.
        """

    def provider_set(
        self,
        provider: str,
        *,
        servers: Sequence[str] | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Change the entries of these ``servers`` of a standard provider, of all of them when
        none is named; KS-USE-002 for a provider or a server that vCenter does not have.

        The answer is a ``Provider``.
        """

    def provider_signing_request(
        self, provider: str, *, new: bool | None = None
    ) -> answers.SigningRequest:
        """Print the request for vCenter's certificate, for the owner of the key servers to sign.

        keystead provider signing-request outside --new
        keystead provider signing-request outside -o json

        With ``new`` servers refuse vCenter until they trust what was issued for it [STD-04,
        SC-08].

        new: Of another key, which takes the earlier one's place.
        The answer is a ``SigningRequest``.
        """

    def provider_trust(self, provider: str) -> answers.ProviderTrustList:
        """Whether vCenter trusts the KMIP servers of a provider, and they vCenter [STD-03].

        keystead provider trust kms-provider
        keystead provider trust kms-provider -o json

        The answer is a ``ProviderTrustList``.
        """

    def provider_trust_servers(
        self, provider: str, *, certificate: str | None = None
    ) -> answers.ProviderTrustList:
        """Have vCenter trust what the KMIP servers of a provider show now, those that answer.

        keystead provider trust-servers kms-provider
        keystead provider trust-servers kms-provider --certificate ca.pem

        certificate: PEM: a certificate.
        The answer is a ``ProviderTrustList``.
        """

    def provider_update(self, provider: str, *, key_id: str | None = None) -> answers.Provider:
        """Give the key derivation key of a native provider another id. Export the provider
        again.

        keystead provider update nkp
        keystead provider update nkp --key-id 6b29fc40-ca47-1067-b31d-00dd010662da

        Its backup is out of date then [NKP-01, NKP-05].

        key_id: A UUID; a fresh one when left out.
        The answer is a ``Provider``.
        """

    def provider_upload_certificate(
        self, provider: str, chain: Sequence[str], *, key_file: str | None = None
    ) -> answers.ProviderTrustList:
        """Have vCenter show a certificate that was issued for its request, or one with its key.

        keystead provider upload-certificate outside --certificate signed.pem
        keystead provider upload-certificate outside --certificate client.pem --key client.key

        Rule [STD-04].

        chain: PEM: the certificate, then those above it.
        key_file: PEM: its private key; without it, that of the request.
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
        """Make a role: that of another one, with some privileges more or less.

        keystead role create no-host --like Admin --without Cryptographer.RegisterHost
        keystead role create cloner --like NoCryptoAdmin --with Cryptographer.Clone

        AddAuthorizationRole; KS-PRODUCT-001 for a name that is taken.

        like: The role that it begins with; left out: none, or itself.
        add: A privilege that it has more; repeat it.
        without: A privilege that it has not; repeat it.
        The answer is a ``RoleList``.
        """

    def role_delete(self, role: str) -> answers.RoleList:
        """Delete a role that no user has.

        keystead role delete no-host
        keystead role delete no-host -o json

        RemoveAuthorizationRole; KS-PRODUCT-001 while a user has it.

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
        """Change what a role may do, for all who have it; at once.

        keystead role update no-host --with Cryptographer.RegisterHost
        keystead role update no-host --like ReadOnly

        UpdateAuthorizationRole.

        like: The role that it begins with; left out: none, or itself.
        add: A privilege that it has more; repeat it.
        without: A privilege that it has not; repeat it.
        The answer is a ``RoleList``.
        """

    def tpm_clear(self, host: str) -> answers.Fault:
        """Clear a host's TPM (new storage seed): a fault without undo, see its cure.

        keystead tpm clear esxi-001
        keystead tpm clear esxi-001 -o json

        The answer is a ``Fault``.
        """

    def tpm_inspect(self, host: str) -> answers.Tpm:
        """What a host's TPM tells of itself.

        keystead tpm inspect esxi-001
        keystead tpm inspect esxi-001 -o json

        The answer is a ``Tpm``.
        """

    def tpm_lockout(self, host: str) -> answers.Tpm:
        """Fail authorizations until a host's TPM refuses more of them.

        The answer is a ``Tpm``.
        """

    def tpm_pcrs(self, host: str) -> answers.Pcrs:
        """PCR 0 to 13 of a host's TPM, in hexadecimal; none while it is off.

        keystead tpm pcrs esxi-001
        keystead tpm pcrs esxi-001 -o json

        The answer is a ``Pcrs``.
        """

    def tpm_swap(self, host: str) -> answers.Fault:
        """Replace a host's TPM by a new one: a fault without undo, see its cure.

        keystead tpm swap esxi-001
        keystead tpm swap esxi-001 -o json

        The answer is a ``Fault``.
        """

    def trust_admin(
        self, *, member: str | None = None, remove: bool | None = None
    ) -> answers.TrustAdminList:
        """Step 1: a user into TrustedAdmins at both vCenters, or out of it [TA-04].

        keystead trust admin
        keystead trust admin alice@vsphere.local --vcenter ta-vcenter

        The answer is a ``TrustAdminList``.
        """

    def trust_cluster(self, cluster: str, *, off: bool | None = None) -> answers.TrustedHostList:
        """Step 12: enable the Trusted state of a cluster, or end it [HLT-02].

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
        """Steps 3, 4, 5, 11: export a principal, an endorsement key, a base image, ... to a
        file.

        keystead trust export principal principal.json
        keystead trust export endorsement-key esxi-001.json --host esxi-001

        A file that is there is not replaced: KS-USE-003.

        host: For all but the principal and services information.
        The answer is a ``TrustFile``.
        """

    def trust_import(self, file: str) -> answers.TrustFile:
        """Steps 6, 7, 8, 12: import what was exported, at the vCenter that it is for.

        keystead trust import principal.json
        keystead trust import services.json

        The answer is a ``TrustFile``.
        """

    def trust_key_provider(
        self, provider: str, primary_key: str, servers: Sequence[str]
    ) -> answers.TrustAuthority:
        """Step 9: create a trusted key provider under the id of a primary key.

        keystead trust key-provider trusted-provider 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
        --server kms
        keystead trust key-provider second 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --server kms-1

        primary_key: Its id at the key servers.
        servers: Key server; repeat it.
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
        """Apply on a cluster's hosts what is desired; --delete wipes what is applied [HLT-02].

        keystead trust remediate cluster-a
        keystead trust remediate cluster-a --delete

        The answer is a ``TrustedHostList``.
        """

    def trust_remove(
        self,
        kind: Literal["baseImage", "caCertificate", "endorsementKey", "principal", "provider"],
        item: str,
    ) -> answers.TrustAuthority:
        """Take an item out of the Trust Authority.

        keystead trust remove base-image 8.0U3-24022510
        keystead trust remove endorsement-key esxi-001

        The answer is a ``TrustAuthority``.
        """

    def trust_renew_certificate(self) -> answers.TrustedHostList:
        """Renew the STS certificate of the workload vCenter: its principal is out of date
        [HLT-05].

        keystead trust renew-certificate
        keystead trust renew-certificate -o json

        The answer is a ``TrustedHostList``.
        """

    def trust_renew_services(self, services: Sequence[str]) -> answers.TrustAuthority:
        """Install services of the Trust Authority anew, so that they have other certificates.

        keystead trust renew-services attestation-1 keyprovider-1
        keystead trust renew-services attestation-2 -o json

        Trusted hosts refuse them until you export their services information, import it and
        remediate [TA-08].

        The answer is a ``TrustAuthority``.
        """

    def trust_settings(
        self, require_endorsement_keys: bool, require_certificate_validation: bool
    ) -> answers.TrustAuthority:
        """What an endorsement key has to be: in the list, or certified by an imported CA.

        keystead trust settings --require-endorsement-keys --no-require-certificate-validation
        keystead trust settings --no-require-endorsement-keys --require-certificate-validation

        Neither takes any, and is warned about [TA-07].

        The answer is a ``TrustAuthority``.
        """

    def trust_setup(self) -> answers.TrustedHostList:
        """All thirteen steps, as the lab file says. What is there already stays.

        keystead trust setup
        keystead trust setup -o json

        The answer is a ``TrustedHostList``.
        """

    def user_delete(self, user: str) -> answers.UserList:
        """Take a user's role away: it may do nothing any more.

        keystead user delete alice@vsphere.local
        keystead user delete alice@vsphere.local -o json

        RemoveEntityPermission.

        The answer is a ``UserList``.
        """

    def user_set(self, user: str, role: str) -> answers.UserList:
        """Give a user a role, in place of the one that it had. Tasks are given with --user.

        keystead user set alice@vsphere.local --role NoCryptoAdmin
        keystead user set bob --role no-host

        SetEntityPermissions.

        role: Admin, NoCryptoAdmin, ReadOnly, or one that was made.
        The answer is a ``UserList``.
        """

    def vcenter_backup(self, backup: str) -> answers.VcenterCopy:
        """Take a backup of vCenter; it is stopped for it, and started again.

        keystead vcenter backup before-the-change
        keystead vcenter backup nightly --vcenter vcenter-b

        A file-based backup [NKP-08]; one of the same name is replaced.

        The answer is a ``VcenterCopy``.
        """

    def vcenter_rebuild(self) -> answers.HostPowerList:
        """Install vCenter anew: it knows no host, no VM, no key provider. Add them again.

        keystead vcenter rebuild
        keystead vcenter rebuild --vcenter vcenter-b

        By ``HostAdd``, ``ProviderAdd`` under the same name [LOCK-06], and ``ProviderImport``
        of a backup [NKP-04].

        The answer is a ``HostPowerList``.
        """

    def vcenter_restore(self, backup: str) -> answers.VcenterCopy:
        """Restore a backup of vCenter: it knows nothing of what came since.

        keystead vcenter restore before-the-change
        keystead vcenter restore nightly --vcenter vcenter-b

        A vCenter that was off stays off. KS-USE-002 when there is no such backup.

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
        """Add a disk to a VM that is powered off; on an encrypted VM it is encrypted.

        keystead vm add-disk vm-01
        keystead vm add-disk vm-01 --provider kms-provider

        It is under the VM's key; with ``provider`` or ``own_key`` under a new one of its own
        [KEY-04].

        blocks: Its size, in blocks of 4,096 bytes.
        provider: A key of its own, of this key provider.
        own_key: A new key of its own, of the default provider.
        The answer is a ``VmDisks``.
        """

    def vm_add_tpm(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Add a virtual TPM to a powered-off VM; its home is encrypted, its disks are not.

        keystead vm add-tpm vm-08
        keystead vm add-tpm vm-08 --provider kms-provider

        The VM has firmware EFI, and hardware version 14 or later [VTPM-02].

        provider: Key provider; the default when left out.
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
        """Clone a VM that is off or runs, or a template; the clone is off, and under the same
        keys.

        keystead vm clone vm-01 vm-01-copy
        keystead vm clone vm-01 vm-01-copy --recrypt --tpm replace

        CloneVM_Task makes a whole copy [CLN-01].

        host: Host of the same cluster; the emptiest, or that of a VM that runs.
        recrypt: New keys: a new KEK, and data keys of its own.
        provider: Key provider of --recrypt; the default.
        tpm: Its virtual TPM: the same, or a new one; as vCenter's knob says [VTPM-07].
        template: It is a template itself.
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

        ``firmware`` and ``hardware`` decide whether it may have a virtual TPM.

        cluster: Cluster; that of the host, else the first.
        host: Host; the emptiest of the cluster when left out.
        encrypted: Encrypt it at once, under a new key.
        provider: Key provider; the default when left out.
        firmware: efi, or bios: then without virtual TPM.
        hardware: Virtual hardware version.
        The answer is a ``Vm``.
        """

    def vm_decrypt(self, vm: str) -> answers.Vm:
        """Take the encryption off a VM that is powered off [CLN-02].

        keystead vm decrypt vm-01
        keystead vm decrypt vm-01 -o json

        The answer is a ``Vm``.
        """

    def vm_destroy(self, vms: Sequence[str]) -> answers.VmRemovalList:
        """Delete VMs with their files; their keys leave the hosts, not the key server [STD-17].

        keystead vm destroy vm-01
        keystead vm destroy 'vm-[01-03]'

        They are powered off; a refusal stops no other.

        vms: Names or selectors: vm-[01-04], all.
        The answer is a ``VmRemovalList``.
        """

    def vm_encrypt(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Encrypt a powered-off VM under a new key.

        keystead vm encrypt vm-08
        keystead vm encrypt vm-08 --provider kms-provider

        Its hosts become safe by it if the user may register hosts [HEM-02].

        provider: Key provider; the default when left out.
        The answer is a ``Vm``.
        """

    def vm_guest_challenge(
        self, vm: str, nonce: str, *, blocks: Sequence[int] | None = None
    ) -> answers.GuestAnswer:
        """Let the guest read, check and rewrite ``blocks``, and answer for ``nonce`` from its
        disk.

        The answer is a ``GuestAnswer``.
        """

    def vm_guest_write(self, vm: str, marker: str) -> answers.GuestAnswer:
        """Let the guest fill its disk with blocks made from ``marker``.

        The answer is a ``GuestAnswer``.
        """

    def vm_migrate(
        self, vm: str, host: str, *, to_vcenter: str | None = None, to_user: str | None = None
    ) -> answers.Migration:
        """Move a VM to another host: vMotion when it runs, registered there when it is off.

        keystead vm migrate vm-01 --host esxi-002
        keystead vm migrate vm-01 --host esxi-003 --to-vcenter vcenter-b
        keystead vm migrate vm-01 --host esxi-002 -o json

        MigrateVM_Task; RelocateVM_Task with ``to_vcenter``, which must have the VM's key
        provider by its name, with the same keys [MOB-07]. A VM whose move is refused runs on
        where it is, and is not locked by it [MOB-05].

        host: The host that it goes to, of the same cluster.
        to_vcenter: The host is one of this vCenter, which has the VM then.
        to_user: Who asks for it at that vCenter; else the user of this command.
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

        A VM that is refused does not keep the others from being asked.

        vms: Names or selectors: vm-[01-04], all. Left out: all of the host.
        host: All VMs of this host.
        on_host: Ask the host itself, as its administrator (with --host).
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

        A VM that is refused does not keep the others from being asked. DRS, where it is
        automated, chooses where they start [HA-03]. With ``on_host`` it works while vCenter
        is down.

        vms: Names or selectors: vm-[01-04], all. Left out: all of the host.
        host: All VMs of this host.
        on_host: Ask the host itself, as its administrator (with --host).
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
        """Put an encrypted VM under a new key, also while it runs, also of another provider
        [REK-01].

        keystead vm recrypt vm-01
        keystead vm recrypt vm-01 --disk 2 --provider second-provider

        Its data keys are wrapped anew; with ``deep`` they are new too [REK-02].

        provider: Key provider; the default when left out.
        deep: New data keys too: powered off, data rewritten.
        disk: Of this hard disk alone; all when left out [KEY-04].
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
        """Register a VM whose files lie on the datastore; without its keys it is locked
        [REG-01].

        keystead vm register vm-01
        keystead vm register vm-01 --host esxi-002
        keystead vm register vm-01 --host esxi-002 --on-host

        With ``on_host`` and `vm on` it is what HA does when a host has lost its power
        [HA-01], also while vCenter is down. Files that another host's running VM holds are
        registered too, and cannot be started here until that host lets go.

        cluster: Cluster; that of the host, else the first.
        host: Host; the emptiest of the cluster when left out.
        on_host: Ask the host itself, as its administrator (with --host).
        The answer is a ``Vm``.
        """

    def vm_remove_disk(self, vm: str, disk: int) -> answers.VmDisks:
        """Take a disk away with its data: vm-01 2 is "Hard disk 2". A lost key of it does not
        matter.

        keystead vm remove-disk vm-01 2
        keystead vm remove-disk vm-01 2 -o json

        The VM is powered off [LOCK-03].

        The answer is a ``VmDisks``.
        """

    def vm_remove_tpm(self, vm: str) -> answers.Vm:
        """Remove the virtual TPM of a powered-off VM, and destroy what is in it.

        keystead vm remove-tpm vm-08
        keystead vm remove-tpm vm-08 -o json

        Its home is decrypted unless a disk is encrypted [VTPM-03].

        The answer is a ``Vm``.
        """

    def vm_set_migrate_encryption(
        self, vm: str, policy: Literal["disabled", "opportunistic", "required"]
    ) -> answers.Vm:
        """Whether the memory of a VM in clear travels encrypted: disabled, opportunistic,
        required.

        keystead vm set-migrate-encryption vm-08 disabled
        keystead vm set-migrate-encryption vm-08 required -o json

        ReconfigVM_Task, migrateEncryption. The memory of an encrypted VM always does
        [MOB-02].

        The answer is a ``Vm``.
        """

    def vm_snapshot_create(
        self, vm: str, snapshot: str, *, memory: bool | None = None
    ) -> answers.Vm:
        """CreateSnapshot_Task: keep a VM's disks, and its virtual TPM, as they are now.

        keystead vm snapshot create vm-01 before
        keystead vm snapshot create vm-01 running --memory

        The VM may run. While it has a snapshot it is not encrypted, decrypted or recrypted
        deeply [REK-02, CLN-02].

        snapshot: Its name; a VM has one of that name.
        memory: The memory of a VM that runs, too.
        The answer is a ``Vm``.
        """

    def vm_snapshot_remove(self, vm: str, snapshot: str) -> answers.Vm:
        """RemoveSnapshot_Task: forget a snapshot; the VM stays as it is.

        keystead vm snapshot remove vm-01 before
        keystead vm snapshot remove vm-01 before -o json

        snapshot: Its name; a VM has one of that name.
        The answer is a ``Vm``.
        """

    def vm_snapshot_revert(
        self, vm: str, snapshot: str, *, suppress_power_on: bool | None = None
    ) -> answers.Vm:
        """RevertToSnapshot_Task: have the VM as it was: off, or, with its memory, running.

        keystead vm snapshot revert vm-01 before
        keystead vm snapshot revert vm-01 running --suppress-power-on

        The key of its home is needed [VTPM-06]; a VM that runs then needs all its keys.

        snapshot: Its name; a VM has one of that name.
        suppress_power_on: Leave it off, also with memory in the snapshot.
        The answer is a ``Vm``.
        """

    def vm_template(self, vm: str, *, off: bool | None = None) -> answers.Vm:
        """MarkAsTemplate: make a template of a VM that is off; it is cloned, and not powered on.

        keystead vm template vm-01
        keystead vm template vm-01 --off

        off: It is a VM again.
        The answer is a ``Vm``.
        """

    def vm_unlock(self, vm: str) -> answers.Vm:
        """CryptoUnlock_Task: let vCenter bring the keys of a locked VM now [LOCK-05].

        keystead vm unlock vm-01
        keystead vm unlock vm-01 -o json

        It is refused (KS-PRODUCT-001) while what locked the VM is still there.

        The answer is a ``Vm``.
        """

    def vm_unregister(
        self, vms: Sequence[str], *, host: str | None = None, on_host: bool | None = None
    ) -> answers.VmRemovalList:
        """Take VMs out of vCenter's inventory: files stay, keys leave the hosts [STD-17].

        keystead vm unregister vm-01
        keystead vm unregister 'vm-[01-03]'
        keystead vm unregister vm-01 --host esxi-001 --on-host

        They are powered off; a refusal stops no other. Their keys stay at the key server
        [KEY-03]. With ``on_host`` the host's own registration goes; it knows nothing of keys
        and other hosts.

        vms: Names or selectors: vm-[01-04], all.
        host: The host that is asked with --on-host.
        on_host: Ask the host itself, as its administrator (with --host).
        The answer is a ``VmRemovalList``.
        """

    def vsan_describe(self, cluster: str) -> answers.Vsan:
        """Encryption, disk groups and objects of a cluster's vSAN.

        keystead vsan describe cluster-a
        keystead vsan describe cluster-a -o json

        The answer is a ``Vsan``.
        """

    def vsan_disable(self, cluster: str) -> answers.Vsan:
        """Write a cluster's vSAN in clear again.

        keystead vsan disable cluster-a
        keystead vsan disable cluster-a -o json

        The answer is a ``Vsan``.
        """

    def vsan_disk_add(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Add a disk to a disk group of a host, encrypted from the start where the others are.

        keystead vsan disk-add esxi-001 group-1 disk-3
        keystead vsan disk-add esxi-001 group-1 disk-3 -o json

        The answer is a ``Vsan``.
        """

    def vsan_disk_remove(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Remove a disk that has no components from a disk group of a host.

        keystead vsan disk-remove esxi-001 group-1 disk-3
        keystead vsan disk-remove esxi-001 group-1 disk-3 -o json

        The answer is a ``Vsan``.
        """

    def vsan_enable(
        self, cluster: str, provider: str, *, erase_disks_before_use: bool | None = None
    ) -> answers.Vsan:
        """Encrypt a cluster's vSAN; of one that is encrypted, change its key provider.

        keystead vsan enable cluster-a --provider kms-provider
        keystead vsan enable cluster-a --provider native-provider -o json

        provider: The key provider; vSAN never takes the default.
        erase_disks_before_use: Not available: refused.
        The answer is a ``Vsan``.
        """

    def vsan_health(self, cluster: str) -> answers.VsanHealthReport:
        """The encryption tests of vSAN health, made now by vCenter and every host.

        keystead vsan health cluster-a
        keystead vsan health cluster-a -o yaml

        The answer is a ``VsanHealthReport``.
        """

    def vsan_mount(self, host: str) -> answers.Vsan:
        """Have a host try again to mount its disk groups, with keys as they can be had now.

        keystead vsan mount esxi-001
        keystead vsan mount esxi-001 -o json

        The answer is a ``Vsan``.
        """

    def vsan_object_create(
        self, cluster: str, object: str, *, blocks: int | None = None
    ) -> answers.Vsan:
        """Make an object of two replicas and a witness, on three hosts; or what one has lost of
        them.

        keystead vsan object-create cluster-a papers
        keystead vsan object-create cluster-a papers --blocks 8

        blocks: Of 4096 bytes.
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
        """Read blocks of a host's replica from its disk now; their digest.

        keystead vsan object-read esxi-001 object-1
        keystead vsan object-read esxi-001 object-1 3 5

        nonce: The digest begins with it.
        blocks: Blocks, by number; the first.
        The answer is a ``VsanObjectContent``.
        """

    def vsan_object_write(self, host: str, object: str, marker: str) -> answers.VsanObjectContent:
        """At a host itself: fill its replica of an object with blocks made of ``marker``.

        The answer is a ``VsanObjectContent``.
        """

    def vsan_rekey(
        self,
        cluster: str,
        *,
        deep: bool | None = None,
        allow_reduced_redundancy: bool | None = None,
    ) -> answers.Vsan:
        """New keys for a cluster's vSAN: KEK and host key, and with --deep the key of each disk.

        keystead vsan rekey cluster-a
        keystead vsan rekey cluster-a --deep --allow-reduced-redundancy

        Data keys change disk group after disk group.

        deep: New data keys too.
        allow_reduced_redundancy: Rebuild what cannot be evacuated from other replicas.
        The answer is a ``Vsan``.
        """

class AsyncCommands:
    """Every command of a lab."""

    async def alarm_acknowledge(self, host: str) -> answers.Host:
        """Say that a host's recovery key is in a safe place: its alarm ends until there is a new
        key.
        """

    async def chaos_play(self, run: str) -> answers.Verdict:
        """Play the plan of a prepared run folder of this machine; one run at a time."""

    async def chaos_stop(self, *, run: str | None = None) -> answers.RunStopped:
        """End a run that a running lab plays, or a load on it: all it began is healed, its
        verdict says interrupted.
        """

    async def cluster_crypto_mode(
        self,
        cluster: str,
        mode: Literal["forceEnable", "onDemand"],
        *,
        key: str | None = None,
        provider: str | None = None,
    ) -> answers.Cluster:
        """Which hosts of a cluster are kept safe, onDemand or forceEnable, and with which host
        key.
        """

    async def cluster_default_provider(
        self, cluster: str, *, provider: str | None = None
    ) -> answers.Cluster:
        """Make a key provider the default of one cluster; none named: vCenter's again [STD-02]."""

    async def cluster_set_drs(
        self, cluster: str, drs: Literal["fullyAutomated", "manual", "off", "partiallyAutomated"]
    ) -> answers.Cluster:
        """What DRS does in a cluster by itself: with an automated level, vCenter chooses at
        power-on.
        """

    async def cluster_set_ha(self, cluster: str, ha: Literal["off", "on"]) -> answers.Cluster:
        """Turn vSphere HA on or off: hosts restart the VMs of one that fails [HA-01]."""

    async def describe_host(self, host: str) -> answers.HostDescription:
        """A host: machine, TPM, key persistence, its VMs, and why it is as it is."""

    async def describe_provider(self, provider: str) -> answers.ProviderDescription:
        """A key provider: its servers, their state, and what stands in the way."""

    async def describe_vm(self, vm: str) -> answers.VmDescription:
        """A VM: power, keys, and why it is locked or not, with the rule and the cure."""

    async def esx(self, host: str, arguments: Sequence[str]) -> answers.EsxcliResult:
        """esxcli at a host's console: works behind cut links, not on a host that is off."""

    async def fault_inject(
        self,
        kind: str,
        *,
        values: Mapping[str, Any] | None = None,
        id: str | None = None,
        lease_s: float | None = None,
        seed: int | None = None,
    ) -> answers.Fault:
        """Begin any fault of experiment files by hand; a hyphen in its name is as good as its
        underscore.
        """

    async def get_alarms(self) -> answers.AlarmList:
        """The alarms of vCenter that stand now, and why."""

    async def get_audit(self, *, kms: str | None = None) -> answers.AuditList:
        """A key server's audit trail: who did what to which key."""

    async def get_clusters(self) -> answers.ClusterList:
        """Clusters: their encryption mode, default key provider, host key."""

    async def get_directory(self) -> answers.Directory:
        """Who is in this lab: plans of experiments are resolved against it."""

    async def get_events(
        self, *, after: int | None = None, limit: int | None = None
    ) -> answers.EventList:
        """vCenter's events with a number above ``after``, oldest first, ``limit`` at most."""

    async def get_faults(self) -> answers.FaultList:
        """Faults in force, oldest first; times are lab seconds since the lab began."""

    async def get_host_view(self, host: str) -> answers.HostView:
        """A host's own view of itself, at its console: works behind cut links."""

    async def get_hosts(self) -> answers.HostList:
        """Hosts as vCenter sees them, with the state of their machines."""

    async def get_keys(self) -> answers.KeyList:
        """Every key of vCenter's inventory: whether its provider can give it, and who uses it
        [STD-20].
        """

    async def get_kms(self) -> answers.KeyServerList:
        """Key servers, with their keys by state, asked of the servers themselves."""

    async def get_links(self) -> answers.LinkList:
        """Links in each direction, with the rules on them."""

    async def get_machines(self) -> answers.MachineList:
        """Machines that the lab stands on: who has joined, how far, with which clock."""

    async def get_nodes(self) -> answers.NodeList:
        """Every node of the lab: machine state, boots, screen, counters of its bus."""

    async def get_providers(self) -> answers.ProviderList:
        """Key providers of vCenter, with the state of their servers [STD-03]."""

    async def get_roles(self) -> answers.RoleList:
        """Roles of vCenter: what each may do, and what it lacks."""

    async def get_status(self) -> answers.LabStatus:
        """The lab in short: nodes by state, VMs by state, faults in force, processes."""

    async def get_tasks(self, *, running: bool | None = None) -> answers.TaskList:
        """vCenter's recent tasks, oldest first: what it was asked, of what, and how it ended."""

    async def get_tpm(self) -> answers.TpmList:
        """The TPM under each host."""

    async def get_trust_authority(self) -> answers.TrustAuthority:
        """The items of a Trust Authority, compared over all its services [HLT-01]."""

    async def get_trusted_hosts(self) -> answers.TrustedHostList:
        """Trusted hosts: desired against applied [HLT-02], and their attestation."""

    async def get_users(self) -> answers.UserList:
        """Users of vCenter, and their roles."""

    async def get_vms(self) -> answers.VmList:
        """VMs as vCenter sees them: power, locked or not, keys that are missing [LOCK-01]."""

    async def heal(
        self,
        *,
        ids: Sequence[str] | None = None,
        all: bool | None = None,
        with_cure: bool | None = None,
    ) -> answers.HealReport:
        """Take faults back and see them gone; what has no undo stays listed with its cure."""

    async def host_add(
        self, *, host: str | None = None, cluster: str | None = None
    ) -> answers.Host:
        """Add a host in vCenter: one that was removed, or a new machine, which is powered on."""

    async def host_clear_tpm(self, host: str) -> answers.Host:
        """Have vCenter forget a host's recorded TPM, and accept the one it has now."""

    async def host_crash(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Crash hosts, all at once: what was written survives; they stay off."""

    async def host_disable_crypto(self, host: str) -> answers.Host:
        """Turn a host's encryption mode off: pendingIncapable until it reboots [HEM-03]."""

    async def host_disconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Have vCenter let hosts alone until they are reconnected: they and their VMs go on."""

    async def host_dump_decrypt(self, host: str, dump: str) -> answers.DumpContent:
        """Read a core dump in clear, at the host; without its host key in memory it is refused."""

    async def host_dump_list(self, host: str) -> answers.DumpList:
        """Core dumps of a host, by which host key each is locked, and whether that is in memory."""

    async def host_dump_remove(self, host: str, dump: str) -> answers.DumpList:
        """Remove a core dump from a host's disk; those that are left are listed."""

    async def host_dump_write(
        self,
        host: str,
        *,
        dump: str | None = None,
        marker: str | None = None,
        vm: str | None = None,
    ) -> answers.Dump:
        """Write a core dump of the host's agent: encrypted under the host key when the host is
        safe.
        """

    async def host_enable_crypto(self, host: str, *, key: str | None = None) -> answers.Host:
        """Turn a host's encryption mode on (ConfigureCryptoKey): host key, VM keys, unlocking."""

    async def host_enter_maintenance(
        self, hosts: Sequence[str], *, evacuate: bool | None = None
    ) -> answers.HostList:
        """Put hosts into maintenance mode, over reboots too: no VM comes or starts there."""

    async def host_exit_maintenance(self, hosts: Sequence[str]) -> answers.HostList:
        """Let VMs come to hosts again; nothing is started because of it."""

    async def host_pause(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Stop the processes of hosts by signal: neither dead nor answering."""

    async def host_power_loss(
        self, hosts: Sequence[str], *, stay_off: bool | None = None
    ) -> answers.HostPowerList:
        """Pull hosts' power; it comes back at once, unless --stay-off. Only synced bytes
        survive.
        """

    async def host_power_off(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Shut hosts (or vcenter, kms) down orderly: what they hold is saved first."""

    async def host_power_on(
        self, hosts: Sequence[str], *, options: Mapping[str, str] | None = None
    ) -> answers.HostPowerList:
        """Press the power button of these nodes; returns when each has started or halted."""

    async def host_prepare_crypto(self, host: str) -> answers.Host:
        """PrepareCrypto: an incapable host may receive keys, and has no host key yet."""

    async def host_reboot(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Reboot hosts orderly: archive saved, TPM2_Shutdown, fresh measured boot."""

    async def host_reconnect(self, hosts: Sequence[str]) -> answers.HostList:
        """Have vCenter connect hosts now, and bring what they miss [B8]."""

    async def host_reinstall(
        self, hosts: Sequence[str], *, leftover: bool | None = None
    ) -> answers.HostPowerList:
        """Install hosts anew: their disks are wiped, their TPMs stay as they were."""

    async def host_remove(self, hosts: Sequence[str]) -> answers.HostRemovalList:
        """Take hosts and their VMs out of vCenter's inventory; the machines stay as they are."""

    async def host_remove_keys(self, host: str, keys: Sequence[str]) -> answers.RemovedKeyList:
        """Remove keys from a host's cache and store, at the host: vCenter is not told."""

    async def host_remove_provider(self, host: str, provider: str) -> answers.HostView:
        """Take a native provider from a host, at the host: vCenter brings it again at its next
        look.
        """

    async def host_resume(self, hosts: Sequence[str]) -> answers.HostPauseList:
        """Let paused processes go on."""

    async def host_rollback(self, hosts: Sequence[str]) -> answers.HostPowerList:
        """Boot the other boot bank: the release before the upgrade, with its configuration of
        then.
        """

    async def host_upgrade(self, hosts: Sequence[str], release: str) -> answers.HostPowerList:
        """Install a later release on hosts in maintenance mode, and boot it."""

    async def key_add(self, key: str) -> answers.KnownKey:
        """Let vCenter know a key that its key server has (AddKey); undoes ``KeyRemove``."""

    async def key_generate(self, *, provider: str | None = None) -> answers.KnownKey:
        """Have a provider make a key (GenerateKey); it is Pre-Active until it is used."""

    async def key_ids(self) -> answers.KnownKeyList:
        """Keys that vCenter knows (ListKeys); `get keys` also asks whether they can be had."""

    async def key_remove(self, key: str, *, force: bool | None = None) -> answers.KnownKey:
        """Let vCenter forget a key; the key server keeps it. With --force its VMs lock at next
        need.
        """

    async def kms_backup(
        self, backup: str, *, kms: Sequence[str] | None = None
    ) -> answers.KeyBackup:
        """Take a backup of key servers; each is stopped for it, and started again."""

    async def kms_identities(self, kms: str) -> answers.KmsIdentityList:
        """Who may come through a key server's door of KMIP, and what it shows."""

    async def kms_key_activate(self, key: str, *, kms: str | None = None) -> answers.Key:
        """KMIP Activate: Pre-Active becomes Active."""

    async def kms_key_create(self, kms: str) -> answers.Key:
        """Make a key at a key server, as its operator, Active: for a primary key."""

    async def kms_key_destroy(self, key: str) -> answers.Fault:
        """Destroy a key (revoked first): a fault without undo, listed with its cure."""

    async def kms_key_grant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Let the clients of another scope get this key, and no other one of its scope."""

    async def kms_key_revoke(self, key: str, *, compromised: bool | None = None) -> answers.Fault:
        """Revoke a key: a fault without undo, listed with its cure by `keystead get faults`."""

    async def kms_key_show(self, key: str, *, kms: str | None = None) -> answers.Key:
        """A key's attributes at its key server."""

    async def kms_key_ungrant(self, key: str, scope: str, *, kms: str | None = None) -> answers.Key:
        """Let the clients of that scope get the key no more; those that have it keep it."""

    async def kms_renew_certificate(self, kms: str) -> answers.KmsIdentityList:
        """Have a key server show another certificate: vCenter refuses it until it trusts that
        one.
        """

    async def kms_restore(
        self, backup: str, *, kms: Sequence[str] | None = None
    ) -> answers.KeyBackup:
        """Restore a backup of key servers: what was made or changed since is lost, and audited."""

    async def kms_revoke(self, kms: str, client: str) -> answers.KmsIdentityList:
        """Have a key server refuse a client from now on."""

    async def kms_rotate_kek(self, kms: str) -> answers.KeyServer:
        """Make another KEK, durable when this returns; keys come under it one after another."""

    async def kms_scope(
        self, kms: str, client: str, *, scope: str | None = None, role: str | None = None
    ) -> answers.KmsIdentityList:
        """Have a client of a key server share the keys of another scope, or have another role."""

    async def kms_set_root(
        self,
        kms: str,
        root: Literal["keyfile", "passphrase", "tpm"],
        *,
        passphrase_file: str | None = None,
    ) -> answers.KeyServer:
        """Have the key ring sealed by another root; the keys themselves are not touched."""

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
        """Have a key server take a client's certificate from now on."""

    async def link_cut(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Cut a link: senders see silence until their deadline."""

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
        """Let messages of a link come later."""

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
        """Take back every fault of the link between two nodes."""

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
        """Reset connections (KMIP) of a link, neither end a host; messages pass."""

    async def link_stall(
        self, a: str, b: str, *, one_way: bool | None = None, lease_s: float | None = None
    ) -> answers.Fault:
        """Stall handshakes of connections (KMIP) of a link, neither end a host."""

    async def provider_add(
        self,
        provider: str,
        servers: Sequence[str],
        *,
        default: bool | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Register a standard key provider; under an old name it restores that one [LOCK-06]."""

    async def provider_create(
        self,
        provider: str,
        *,
        key_id: str | None = None,
        tpm_required: bool | None = None,
        default: bool | None = None,
    ) -> answers.Provider:
        """Make a native key provider: hosts derive its keys [NKP-01]. Export it once before it
        is used.
        """

    async def provider_default(self, provider: str) -> answers.Provider:
        """Make a provider the default for new keys [STD-02]."""

    async def provider_delete(self, provider: str) -> answers.Fault:
        """Delete a key provider (use does not block it): listed with its cure by `keystead get
        faults`.
        """

    async def provider_export(
        self, provider: str, file: str, *, password_file: str | None = None
    ) -> answers.ProviderBackup:
        """Write the backup of a native provider, a PKCS#12 file. Keep it: nothing else restores
        it.
        """

    async def provider_import(
        self,
        file: str,
        *,
        password_file: str | None = None,
        default: bool | None = None,
        dry_run: bool | None = None,
    ) -> answers.ProviderBackup:
        """Make a native provider of a backup: of one that was deleted, or of another vCenter's."""

    async def provider_renew_certificate(self, provider: str) -> answers.ProviderTrustList:
        """Have vCenter show another certificate: the servers refuse it until they trust that
        one.
        """

    async def provider_set(
        self,
        provider: str,
        *,
        servers: Sequence[str] | None = None,
        entry: Mapping[str, Any] | None = None,
    ) -> answers.Provider:
        """Change the entries of these ``servers`` of a standard provider, of all of them when
        none is named; KS-USE-002 for a provider or a server that vCenter does not have.
        """

    async def provider_signing_request(
        self, provider: str, *, new: bool | None = None
    ) -> answers.SigningRequest:
        """Print the request for vCenter's certificate, for the owner of the key servers to sign."""

    async def provider_trust(self, provider: str) -> answers.ProviderTrustList:
        """Whether vCenter trusts the KMIP servers of a provider, and they vCenter [STD-03]."""

    async def provider_trust_servers(
        self, provider: str, *, certificate: str | None = None
    ) -> answers.ProviderTrustList:
        """Have vCenter trust what the KMIP servers of a provider show now, those that answer."""

    async def provider_update(
        self, provider: str, *, key_id: str | None = None
    ) -> answers.Provider:
        """Give the key derivation key of a native provider another id. Export the provider
        again.
        """

    async def provider_upload_certificate(
        self, provider: str, chain: Sequence[str], *, key_file: str | None = None
    ) -> answers.ProviderTrustList:
        """Have vCenter show a certificate that was issued for its request, or one with its key."""

    async def role_create(
        self,
        role: str,
        *,
        like: str | None = None,
        add: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
    ) -> answers.RoleList:
        """Make a role: that of another one, with some privileges more or less."""

    async def role_delete(self, role: str) -> answers.RoleList:
        """Delete a role that no user has."""

    async def role_update(
        self,
        role: str,
        *,
        like: str | None = None,
        add: Sequence[str] | None = None,
        without: Sequence[str] | None = None,
    ) -> answers.RoleList:
        """Change what a role may do, for all who have it; at once."""

    async def tpm_clear(self, host: str) -> answers.Fault:
        """Clear a host's TPM (new storage seed): a fault without undo, see its cure."""

    async def tpm_inspect(self, host: str) -> answers.Tpm:
        """What a host's TPM tells of itself."""

    async def tpm_lockout(self, host: str) -> answers.Tpm:
        """Fail authorizations until a host's TPM refuses more of them."""

    async def tpm_pcrs(self, host: str) -> answers.Pcrs:
        """PCR 0 to 13 of a host's TPM, in hexadecimal; none while it is off."""

    async def tpm_swap(self, host: str) -> answers.Fault:
        """Replace a host's TPM by a new one: a fault without undo, see its cure."""

    async def trust_admin(
        self, *, member: str | None = None, remove: bool | None = None
    ) -> answers.TrustAdminList:
        """Step 1: a user into TrustedAdmins at both vCenters, or out of it [TA-04]."""

    async def trust_cluster(
        self, cluster: str, *, off: bool | None = None
    ) -> answers.TrustedHostList:
        """Step 12: enable the Trusted state of a cluster, or end it [HLT-02]."""

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
        """Steps 3, 4, 5, 11: export a principal, an endorsement key, a base image, ... to a
        file.
        """

    async def trust_import(self, file: str) -> answers.TrustFile:
        """Steps 6, 7, 8, 12: import what was exported, at the vCenter that it is for."""

    async def trust_key_provider(
        self, provider: str, primary_key: str, servers: Sequence[str]
    ) -> answers.TrustAuthority:
        """Step 9: create a trusted key provider under the id of a primary key."""

    async def trust_key_servers(self, provider: str) -> answers.TrustAuthority:
        """Step 10: trust the certificates of the provider's key servers."""

    async def trust_register(
        self, provider: str, *, default: bool | None = None
    ) -> answers.Provider:
        """Step 13: register the trusted key provider at the workload vCenter."""

    async def trust_remediate(
        self, cluster: str, *, delete: bool | None = None
    ) -> answers.TrustedHostList:
        """Apply on a cluster's hosts what is desired; --delete wipes what is applied [HLT-02]."""

    async def trust_remove(
        self,
        kind: Literal["baseImage", "caCertificate", "endorsementKey", "principal", "provider"],
        item: str,
    ) -> answers.TrustAuthority:
        """Take an item out of the Trust Authority."""

    async def trust_renew_certificate(self) -> answers.TrustedHostList:
        """Renew the STS certificate of the workload vCenter: its principal is out of date
        [HLT-05].
        """

    async def trust_renew_services(self, services: Sequence[str]) -> answers.TrustAuthority:
        """Install services of the Trust Authority anew, so that they have other certificates."""

    async def trust_settings(
        self, require_endorsement_keys: bool, require_certificate_validation: bool
    ) -> answers.TrustAuthority:
        """What an endorsement key has to be: in the list, or certified by an imported CA."""

    async def trust_setup(self) -> answers.TrustedHostList:
        """All thirteen steps, as the lab file says. What is there already stays."""

    async def user_delete(self, user: str) -> answers.UserList:
        """Take a user's role away: it may do nothing any more."""

    async def user_set(self, user: str, role: str) -> answers.UserList:
        """Give a user a role, in place of the one that it had. Tasks are given with --user."""

    async def vcenter_backup(self, backup: str) -> answers.VcenterCopy:
        """Take a backup of vCenter; it is stopped for it, and started again."""

    async def vcenter_rebuild(self) -> answers.HostPowerList:
        """Install vCenter anew: it knows no host, no VM, no key provider. Add them again."""

    async def vcenter_restore(self, backup: str) -> answers.VcenterCopy:
        """Restore a backup of vCenter: it knows nothing of what came since."""

    async def vm_add_disk(
        self,
        vm: str,
        *,
        blocks: int | None = None,
        provider: str | None = None,
        own_key: bool | None = None,
    ) -> answers.VmDisks:
        """Add a disk to a VM that is powered off; on an encrypted VM it is encrypted."""

    async def vm_add_tpm(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Add a virtual TPM to a powered-off VM; its home is encrypted, its disks are not."""

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
        """Clone a VM that is off or runs, or a template; the clone is off, and under the same
        keys.
        """

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
        """Take the encryption off a VM that is powered off [CLN-02]."""

    async def vm_destroy(self, vms: Sequence[str]) -> answers.VmRemovalList:
        """Delete VMs with their files; their keys leave the hosts, not the key server [STD-17]."""

    async def vm_encrypt(self, vm: str, *, provider: str | None = None) -> answers.Vm:
        """Encrypt a powered-off VM under a new key."""

    async def vm_guest_challenge(
        self, vm: str, nonce: str, *, blocks: Sequence[int] | None = None
    ) -> answers.GuestAnswer:
        """Let the guest read, check and rewrite ``blocks``, and answer for ``nonce`` from its
        disk.
        """

    async def vm_guest_write(self, vm: str, marker: str) -> answers.GuestAnswer:
        """Let the guest fill its disk with blocks made from ``marker``."""

    async def vm_migrate(
        self, vm: str, host: str, *, to_vcenter: str | None = None, to_user: str | None = None
    ) -> answers.Migration:
        """Move a VM to another host: vMotion when it runs, registered there when it is off."""

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
        """Put an encrypted VM under a new key, also while it runs, also of another provider
        [REK-01].
        """

    async def vm_register(
        self,
        vm: str,
        *,
        cluster: str | None = None,
        host: str | None = None,
        on_host: bool | None = None,
    ) -> answers.Vm:
        """Register a VM whose files lie on the datastore; without its keys it is locked
        [REG-01].
        """

    async def vm_remove_disk(self, vm: str, disk: int) -> answers.VmDisks:
        """Take a disk away with its data: vm-01 2 is "Hard disk 2". A lost key of it does not
        matter.
        """

    async def vm_remove_tpm(self, vm: str) -> answers.Vm:
        """Remove the virtual TPM of a powered-off VM, and destroy what is in it."""

    async def vm_set_migrate_encryption(
        self, vm: str, policy: Literal["disabled", "opportunistic", "required"]
    ) -> answers.Vm:
        """Whether the memory of a VM in clear travels encrypted: disabled, opportunistic,
        required.
        """

    async def vm_snapshot_create(
        self, vm: str, snapshot: str, *, memory: bool | None = None
    ) -> answers.Vm:
        """CreateSnapshot_Task: keep a VM's disks, and its virtual TPM, as they are now."""

    async def vm_snapshot_remove(self, vm: str, snapshot: str) -> answers.Vm:
        """RemoveSnapshot_Task: forget a snapshot; the VM stays as it is."""

    async def vm_snapshot_revert(
        self, vm: str, snapshot: str, *, suppress_power_on: bool | None = None
    ) -> answers.Vm:
        """RevertToSnapshot_Task: have the VM as it was: off, or, with its memory, running."""

    async def vm_template(self, vm: str, *, off: bool | None = None) -> answers.Vm:
        """MarkAsTemplate: make a template of a VM that is off; it is cloned, and not powered on."""

    async def vm_unlock(self, vm: str) -> answers.Vm:
        """CryptoUnlock_Task: let vCenter bring the keys of a locked VM now [LOCK-05]."""

    async def vm_unregister(
        self, vms: Sequence[str], *, host: str | None = None, on_host: bool | None = None
    ) -> answers.VmRemovalList:
        """Take VMs out of vCenter's inventory: files stay, keys leave the hosts [STD-17]."""

    async def vsan_describe(self, cluster: str) -> answers.Vsan:
        """Encryption, disk groups and objects of a cluster's vSAN."""

    async def vsan_disable(self, cluster: str) -> answers.Vsan:
        """Write a cluster's vSAN in clear again."""

    async def vsan_disk_add(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Add a disk to a disk group of a host, encrypted from the start where the others are."""

    async def vsan_disk_remove(self, host: str, group: str, disk: str) -> answers.Vsan:
        """Remove a disk that has no components from a disk group of a host."""

    async def vsan_enable(
        self, cluster: str, provider: str, *, erase_disks_before_use: bool | None = None
    ) -> answers.Vsan:
        """Encrypt a cluster's vSAN; of one that is encrypted, change its key provider."""

    async def vsan_health(self, cluster: str) -> answers.VsanHealthReport:
        """The encryption tests of vSAN health, made now by vCenter and every host."""

    async def vsan_mount(self, host: str) -> answers.Vsan:
        """Have a host try again to mount its disk groups, with keys as they can be had now."""

    async def vsan_object_create(
        self, cluster: str, object: str, *, blocks: int | None = None
    ) -> answers.Vsan:
        """Make an object of two replicas and a witness, on three hosts; or what one has lost of
        them.
        """

    async def vsan_object_read(
        self,
        host: str,
        object: str,
        *,
        nonce: str | None = None,
        blocks: Sequence[int] | None = None,
    ) -> answers.VsanObjectContent:
        """Read blocks of a host's replica from its disk now; their digest."""

    async def vsan_object_write(
        self, host: str, object: str, marker: str
    ) -> answers.VsanObjectContent:
        """At a host itself: fill its replica of an object with blocks made of ``marker``."""

    async def vsan_rekey(
        self,
        cluster: str,
        *,
        deep: bool | None = None,
        allow_reduced_redundancy: bool | None = None,
    ) -> answers.Vsan:
        """New keys for a cluster's vSAN: KEK and host key, and with --deep the key of each disk."""
