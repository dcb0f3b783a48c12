"""What administrators do with keys, disks, hosts and the Trust Authority, and what it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from chaos.history import Record
from chaos.oracle.effects import FaultEffect
from chaos.oracle.facts import Change
from chaos.oracle.fold.derivation import Derivation
from chaos.oracle.fold.disturbances import id_at_source
from chaos.oracle.fold.hosts import NOWHERE
from chaos.oracle.fold.known import NO, OPEN, YES
from chaos.oracle.fold.listings import NONE, PROVIDERS
from chaos.oracle.fold.providers import Providers
from chaos.oracle.fold.vms import FoldedVm
from protocol.terms import CryptoMode

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
