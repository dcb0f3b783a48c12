"""What administrators do with key providers and with vCenter itself, and what it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaos.history import Record
from chaos.oracle.effects import FaultEffect
from chaos.oracle.fold.availability import Availability
from chaos.oracle.fold.derivation import Derivation
from chaos.oracle.fold.known import NO, OPEN, YES, Known
from chaos.oracle.fold.listings import DELETED, MADE, NONE, Kdks
from chaos.oracle.fold.vms import FoldedVm


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
