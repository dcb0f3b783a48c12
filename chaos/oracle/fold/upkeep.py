"""What administrators do with key providers, keys, disks, hosts, vCenters and the Trust Authority,
and what it leads to.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from chaos.history import Record
from chaos.oracle.effects import FaultEffect
from chaos.oracle.facts import Change
from chaos.oracle.fold.disturbances import id_at_source
from chaos.oracle.fold.hosts import NOWHERE, Derivation
from chaos.oracle.fold.known import NO, OPEN, YES, Known
from chaos.oracle.fold.listings import DELETED, MADE, NONE, PROVIDERS, Kdks
from chaos.oracle.fold.operations import Availability
from chaos.oracle.fold.vms import FoldedVm
from protocol.terms import CryptoMode


class Providers(Availability):
    """Each method follows the records of one kind of operation: under way (``invoke``), done
    (``ok``), without effect (``fail``), or with an end that nobody knows (``info``)."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        super().__init__(effects)
        self._without_tpm: frozenset[str] | None = None  # hosts, where that was told
        self._commands: dict[int, dict[str, Any]] = {}
        self._inventories: dict[str, dict[str, tuple[str, ...]]] = {}  # of vCenter's backups

    def began_with(self, record: Record) -> dict[str, Any]:
        """The fields with which the record's operation was begun."""
        number = int(record.data.get("n", 0))
        if record.type == "invoke":
            self._commands[number] = record.data
            return record.data
        return self._commands.pop(number, {})

    # ---- key providers ----------------------------------------------------------------------

    def provider(self, record: Record) -> None:
        """A native one is made, exported or imported, any one is deleted."""
        made = self.realms.first.listings.operation(
            record, next(iter(self.realms.first.defaults), "")
        )
        if record.type == "invoke":
            if record.op == MADE:
                required = bool(record.data.get("tpm_required"))
                self.knows_native(made, NONE, tpm_required=required)
            if record.data.get("default"):
                self._may_be_default(made)
        elif record.op == DELETED and record.type != "fail" and made in self.realms.first.defaults:
            self.default_is_open = True
        if made in self.realms.first.ways.natives and made in (
            *self.realms.first.ways.servers,
            *self.realms.first.ways.trusted,
        ):
            self.lost = record.op  # of another type than it was

    def knows_native(self, provider: str, kdk: Kdks, *, tpm_required: bool) -> None:
        """Hosts may derive keys of this provider, of which they have one of these KDKs."""
        if provider not in self.realms.first.ways.natives:
            self.realms.first.ways.natives += (provider,)
        for name, host in self.hosts.items():
            excluded = NO
            if tpm_required:
                without = self._without_tpm
                excluded = OPEN if without is None else YES if name in without else NO
            known = host.native.get(provider)
            if known is None:
                host.native[provider] = Derivation(excluded=excluded, kdk=kdk)
            elif known.excluded != excluded:
                known.excluded = OPEN

    def take_addition(self, record: Record) -> None:
        """A standard one is added, or has other key servers; its keys are what they were."""
        asked = self.began_with(record)
        name, servers = str(asked.get("provider", "")), tuple(map(str, asked.get("servers", ())))
        if name in self.realms.first.ways.natives or name in self.realms.first.ways.trusted:
            self.lost = record.op
            return
        before = self.realms.first.ways.servers.get(name, ())
        if record.type == "invoke" or record.type == "info":
            self._have_servers(name, tuple(dict.fromkeys((*before, *servers))))
            self.realms.first.listings.of(name).may_be(frozenset({0}), record.t)
            if asked.get("default"):
                self._may_be_default(name)
        elif record.type == "ok":
            self._have_servers(name, servers)
            self.realms.first.listings.of(name).becomes(frozenset({0}), record.t)

    def _have_servers(self, provider: str, servers: tuple[str, ...]) -> None:
        self.realms.first.ways.servers = {**self.realms.first.ways.servers, provider: servers}

    def password_entered(self, record: Record) -> None:
        """vCenter has a user with a password at the servers of a provider (STD-01)."""
        asked = self.began_with(record)
        provider = str(record.data.get("entered") or asked.get("provider") or "")
        for name in (provider,) if provider else tuple(self.realms.first.ways.servers):
            if record.type == "ok":
                self._has_password(name, YES)
            elif record.type != "fail" and self.faults.passwords.get(name, YES) != YES:
                self._has_password(name, OPEN)

    def _has_password(self, provider: str, has: Known) -> None:
        self.faults.passwords[provider] = has
        self.faults.version += 1

    def default(self, record: Record) -> None:
        """One becomes the default, of vCenter or of a cluster."""
        if record.type == "invoke":
            self._may_be_default(str(record.data.get("provider") or ""))

    def _may_be_default(self, provider: str) -> None:
        self.default_is_open |= provider not in self.realms.first.defaults
        self.realms.first.defaults |= {provider} - {""}

    # ---- vCenter ----------------------------------------------------------------------------

    def vcenter_backup(self, record: Record) -> None:
        """It has what vCenter knows when it is stopped for it."""
        backup = str(self.began_with(record).get("backup", ""))
        if record.type == "ok":
            self.realms.first.listings.keep(backup)
            self._inventories[backup] = {name: vm.keys for name, vm in self.vms.items()}

    def vcenter_restored(self, record: Record) -> None:
        """It knows what it knew, and has hosts brought to that (NKP-15). A VM's keys it learns from
        the VM's host, and brings those that it was not given before somebody unlocks it (C28)."""
        asked = self.began_with(record)
        backup = str(asked.get("backup", ""))
        self.default_is_open = True
        done = record.type == "ok"
        if asked.get("without_passwords"):
            lost = record.data.get("no_password") if done else self.faults.passwords
            for name in tuple(lost or ()):
                self._has_password(name, NO if done else OPEN)
        self.realms.first.listings.put_back(backup, record.t, surely=done)
        known = self._inventories.get(backup, {})
        given = {key for keys in known.values() for key in keys}
        for name, vm in self.vms.items():
            for key in self._keys_brought(vm) - {*known.get(name, ())}:
                self.not_granted[key] = YES if done and key not in given else OPEN

    def _keys_brought(self, vm: FoldedVm) -> set[str]:
        """Those of its keys that vCenter brings from key servers."""
        servers = self.realms.first.ways.servers
        return {key for key in vm.keys if key.partition("/")[0] in servers}

    def vcenter_rebuilt(self, record: Record) -> None:
        """It knows nobody: no provider, and no host that it could tell of that."""
        self.default_is_open = True
        done = record.type in ("ok", "fail")  # its disk is empty, whether it runs by now or not
        for host in self.hosts:
            self.realms.at(host).ways.led[host] = NO if done else OPEN
        if record.type != "invoke":
            self.realms.first.listings.forget(record.t, surely=done)
        for vm in self.vms.values():
            self.not_granted |= dict.fromkeys(self._keys_brought(vm), YES if done else OPEN)

    def take_lead(self, record: Record) -> None:
        """A host is added, disconnected or reconnected."""
        if record.node not in self.hosts or record.type == "fail":
            return
        wanted = NO if record.op == "host.disconnect" else YES
        self.realms.at(record.node).ways.led[record.node] = wanted if record.type == "ok" else OPEN


SEALS: Final = "system settings encryption set --mode=TPM"
READS: Final = ("get", "list")


class Upkeep(Providers):
    """As ``Providers``. ``acts``: how many operations of administrators have ended."""

    def __init__(self, effects: Mapping[str, FaultEffect]) -> None:
        super().__init__(effects)
        self.acts = 0
        self.untold: frozenset[str] = frozenset()
        """Operations that have given somebody of a Trust Authority another certificate, which
        others have not been told."""

    def administers(self, record: Record) -> bool:
        """Follow an operation of an administrator; whether it is one of those that are known."""
        follow = KNOWN.get(record.op)
        if follow is None or "action" not in record.data:
            return False
        if self.several and follow in OF_A_VCENTER:
            self.lost = self.lost or f"{record.op} where several vCenters lead"
        getattr(self, follow)(record)
        self.acts += record.type != "invoke"
        return True

    # ---- keys -------------------------------------------------------------------------------

    def key_gone(self, record: Record) -> None:
        """Keys of a VM, or unused ones, are revoked or destroyed at their key servers."""
        vm = self.vms.get(record.node)
        mine = () if vm is None else tuple(map(id_at_source, vm.keys))
        if record.type == "ok":
            self.at_source |= dict.fromkeys(map(str, record.data.get("keys", ())), NO)
        elif record.type == "invoke" or record.type == "info":
            self.at_source |= {key: self.at_source.get(key, YES) | NO for key in mine}

    def key_activated(self, record: Record) -> None:
        """One that was revoked is not Active by it, one that was new is (STD-18)."""
        mine = map(id_at_source, self.vms.get(record.node, FoldedVm()).keys)
        self.at_source |= {key: OPEN for key in mine if self.at_source.get(key, YES) != YES}

    def key_servers_restored(self, record: Record) -> None:
        """Keys that came since are gone, others are what they were."""
        self.faults.forget_rejections()
        if record.type == "invoke" or record.type == "info":
            self.sources_are_open = True
        elif record.type == "ok":
            self.sources_are_open = False
            self.at_source = dict.fromkeys(self.at_source, OPEN)
            self.at_source |= dict.fromkeys(map(str, record.data.get("keys", ())), NO)

    def key_removed(self, record: Record) -> None:
        """vCenter forgets keys; by force hosts lose them too, and nobody brings them again."""
        if not self.began_with(record).get("force"):
            return
        vm = self.vms.get(record.node, FoldedVm())
        done = record.type == "ok"
        for key in vm.keys:
            self.forgotten[key] = YES if done else OPEN
            for name, host in self.hosts.items():
                way = self.way_to(name, key.partition("/")[0])
                host.take_away(key, surely=done and way.led_since < self.now)

    def key_known(self, record: Record) -> None:
        """vCenter knows the keys again."""
        for key in self.vms.get(record.node, FoldedVm()).keys:
            if record.type == "ok":
                self.forgotten.pop(key, None)
            elif key in self.forgotten:
                self.forgotten[key] = OPEN

    def key_granted(self, record: Record) -> None:
        """A person unlocks or registers a VM, and so gives its cluster the VM's keys (C28)."""
        for key in self.vms.get(record.node, FoldedVm()).keys:
            if record.type == "ok":
                self.not_granted.pop(key, None)
            elif key in self.not_granted:
                self.not_granted[key] = OPEN

    # ---- disks ------------------------------------------------------------------------------

    def disks(self, record: Record) -> None:
        """A VM needs a key more, or less; its host tells at the next look."""
        vm, number = self.vms.setdefault(record.node, FoldedVm()), int(record.data.get("n", 0))
        if record.type == "invoke":
            vm.rekeyed.add(number)
        else:
            vm.end_recrypt(number, record.type, record.t)

    # ---- hosts ------------------------------------------------------------------------------

    def crypto_off(self, record: Record) -> None:
        """Its encryption mode goes with the next boot (HEM-03)."""
        if record.node in self.hosts and record.type != "fail":
            self.hosts[record.node].disabled = True

    def crypto_on(self, record: Record) -> None:
        """Its host key is brought, or a new one made."""
        if record.node in self.hosts and record.type == "ok":
            self.hosts[record.node].disabled = False

    def crypto_mode(self, record: Record) -> None:
        """On demand is what holds anyway, under whichever host key. Nothing here follows which
        hosts are safe when the mode is forced."""
        if record.type == "invoke" and record.data.get("mode") != CryptoMode.ON_DEMAND.value:
            self.lost = self.lost or record.op

    def take_reinstall(self, record: Record) -> None:
        """Nothing that the host had is there; its VMs are registered nowhere (NKP-19)."""
        host = self.hosts.get(record.node)
        if host is None or record.type == "info":
            return
        host.wiped_at = record.t
        if record.type == "invoke":
            host.stops = OPEN
            for key in host.places:
                host.take_away(key, surely=False)
            for own in host.native.values():
                own.goes(surely=False)
        else:
            host.stops, host.change, host.persists = NO, Change.NOTHING, NO
            host.places = dict.fromkeys(host.places, NOWHERE)
            host.native = {
                name: Derivation(excluded=own.excluded, kdk=NONE)
                for name, own in host.native.items()
            }
            host.moved += 1
        if host.trust is not None:
            host.trust.sealed_anew, host.trust.known = True, OPEN
        for name in [name for name, vm in self.vms.items() if vm.host == record.node]:
            self.vms.pop(name)
        self._keys.clear()

    def console(self, record: Record) -> None:
        """A command of esxcli: one that seals, or one that reads."""
        command = str(self.began_with(record).get("command", ""))
        host = self.hosts.get(record.node)
        if command == SEALS and host is not None:
            host.wiped_at = record.t  # what its TPM was before does not matter any more
        elif not command.endswith(READS):
            self.lost = self.lost or record.op

    # ---- the Trust Authority ------------------------------------------------------------------

    def trust_imported(self, record: Record) -> None:
        """The services come to know what hosts have booted, and on which TPM."""
        for host in self.hosts.values():
            if host.trust is not None and host.trust.known != YES:
                host.trust.known |= YES

    def trust_renewed(self, record: Record) -> None:
        """A certificate is another one, which nobody knows before it is told."""
        if record.type != "fail":
            self.untold |= {record.op}
            self._doubt_trust()

    def trust_told(self, record: Record) -> None:
        """The one certificate, or all others, are made known."""
        if record.type == "ok":
            self.untold -= {_RENEWED[record.op]}
        self._doubt_trust()

    def _doubt_trust(self) -> None:
        for host in self.hosts.values():
            if host.trust is not None:
                host.trust.untold = bool(self.untold)
                host.trust.known |= NO

    def nothing(self, record: Record) -> None:
        """What it leads to is seen."""


_RENEWED: Final = {
    "trust.import-principal": "trust.renew-certificate",
    "trust.remediate": "trust.renew-services",
}
KNOWN: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(PROVIDERS, "provider"),
        "provider.add": "take_addition",
        "provider.enter-password": "password_entered",
        "provider.default": "default",
        "cluster.default-provider": "default",
        "cluster.crypto-mode": "crypto_mode",
        "vcenter.backup": "vcenter_backup",
        "vcenter.restore": "vcenter_restored",
        "vcenter.rebuild": "vcenter_rebuilt",
        "vcenter.key.remove": "key_removed",
        "vcenter.key.add": "key_known",
        "kms.key.revoke": "key_gone",
        "kms.key.destroy": "key_gone",
        "kms.key.destroy-unused": "key_gone",
        "kms.key.activate": "key_activated",
        "kms.restore": "key_servers_restored",
        "kms.backup": "nothing",
        "key.add": "nothing",
        "provider.update-native": "nothing",
        "vm.add-disk": "disks",
        "vm.add-disk-at-host": "disks",
        "vm.remove-disk": "disks",
        "vm.register": "key_granted",
        "vm.unlock": "key_granted",
        "host.add": "take_lead",
        "host.disconnect": "take_lead",
        "host.reconnect": "take_lead",
        "host.disable-crypto": "crypto_off",
        "host.enable-crypto": "crypto_on",
        "host.prepare-crypto": "nothing",
        "host.reinstall": "take_reinstall",
        "esx.command": "console",
        "trust.import-endorsement-key": "trust_imported",
        "trust.import-base-image": "trust_imported",
        "trust.renew-certificate": "trust_renewed",
        "trust.renew-services": "trust_renewed",
        "trust.import-principal": "trust_told",
        "trust.remediate": "trust_told",
    }
)
"""The method that follows each operation of an administrator."""
OF_A_VCENTER: Final = frozenset(
    {
        *("provider", "take_addition", "default", "key_removed", "key_known"),
        *("vcenter_backup", "vcenter_restored", "vcenter_rebuilt", "password_entered"),
    }
)
"""Those that change what one vCenter knows; they are followed where one leads all hosts."""
