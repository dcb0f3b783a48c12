"""A key whose creation was acknowledged exists at the end, unless it was removed on purpose.

Set algebra as in queue checkers: acknowledged - available = lost; operations that ended
``info`` may go either way and are not counted. Lost ones are told by where they stand among the
acknowledged: a prefix, the middle or the postfix, which say different things of the loser.

Four things take keys away on purpose, and each only the keys that it is about: an operator
destroys them, a provider is deleted and not added again, an older backup is put back on a key
server, which has no key that was made since (SC-14), or on a vCenter, which has no native provider
that was made since (SC-19).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record, fault_id

_RESTORES: Final = "kms.key_state"  # whose cure is a backup that is put back
_ROLLBACK: Final = "kms.rollback"  # whose cure accepts the one that was put back
_REFUSED: Final = "KS-CHAOS-108"  # it was not, since it would lose keys in use
_STRUCK: Final = (_RESTORES, "kms.key.revoke", "kms.key.destroy", "kms.key.destroy-unused")
_BACKUP: Final = "kms.backup"
_RESTORE: Final = "kms.restore"
_VCENTER_RESTORE: Final = "vcenter.restore"
_DELETED: Final = "provider.delete"
_ADDED: Final = "provider.add"


@dataclass(frozen=True)
class _Restored:
    """A backup that was put back on ``servers``; who was acknowledged between the records
    ``since`` and ``until`` is newer than it."""

    since: int
    until: int
    servers: frozenset[str]


@dataclass
class _Keys:
    """What a history says of keys; ``acked`` has the record and the provider of each."""

    acked: dict[str, tuple[int, str]] = field(default_factory=dict)
    available: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    struck: dict[str, frozenset[str]] = field(default_factory=dict)  # fault or action -> keys
    deleted: dict[str, str] = field(default_factory=dict)  # fault or action -> provider
    servers: dict[str, frozenset[str]] = field(default_factory=dict)  # of each provider
    restored: list[_Restored] = field(default_factory=list)
    _asked: dict[int, Record] = field(default_factory=dict)  # for a backup, or to put one back
    _backups: dict[str, int] = field(default_factory=dict)  # the record since which it may be of
    _begun: dict[str, int] = field(default_factory=dict)
    _faults: dict[str, Record] = field(default_factory=dict)
    _curing: set[str] = field(default_factory=set)

    def take(self, record: Record) -> None:
        """Follow one record."""
        data, acted = record.data, record.type in ("fault", "ok", "info")
        key = data.get("key")
        if record.type == "ok" and isinstance(key, str):
            self.acked.setdefault(key, (record.seq, str(data.get("provider", ""))))
        if acted and record.op in _STRUCK:
            by = fault_id(record) if record.type == "fault" else f"action {record.seq}"
            self.struck[by] = frozenset(data.get("keys", ()))
        if acted and record.op == _DELETED:
            self.deleted[f"{fault_id(record)}{record.seq}"] = _provider(record)
        if acted and record.op == _VCENTER_RESTORE:
            self.deleted |= {f"{record.seq}/{name}": name for name in data.get("gone", ())}
        if record.op in (_BACKUP, _RESTORE):
            self._of_backup(record)
        if record.op == _ADDED and record.type == "invoke":
            self._add_servers(str(data.get("provider")), data.get("servers", ()))
        match record.type:
            case "state":
                self._state(record)
            case "fault":
                self._faults[fault_id(record)] = record
            case "note" | "heal":
                self._of_fault(record)

    def _state(self, record: Record) -> None:
        if record.op == "keys":
            self.asked.update(record.data.get("asked", ()))
            self.available.update(record.data.get("available", ()))
        elif record.op == "staging":
            for found in record.data.get("providers", ()):
                self.servers[str(found["name"])] = frozenset(map(str, found["servers"]))

    def _add_servers(self, provider: str, servers: Sequence[str]) -> None:
        """It is there, or may be, under its name."""
        self.servers[provider] = frozenset(map(str, servers))
        self.deleted = {by: name for by, name in self.deleted.items() if name != provider}

    def _of_backup(self, record: Record) -> None:
        """One of the run's own actions. What was acknowledged before the backup was asked for is in
        it, whatever the restore left; of a backup that an earlier run took nobody here knows."""
        number = int(record.data.get("n", 0))
        if record.type == "invoke":
            self._asked[number] = record
            return
        asked = self._asked.get(number, record)
        name = str(asked.data.get("backup", ""))
        if record.op == _BACKUP:
            if record.type == "ok":
                self._backups[name] = asked.seq
            elif record.type == "info":
                self._backups.setdefault(name, asked.seq)
        elif record.type != "fail":
            every = frozenset[str]().union(*self.servers.values())
            servers = frozenset(map(str, record.data.get("servers", every)))
            self.restored.append(_Restored(self._backups.get(name, 0), record.seq, servers))

    def _of_fault(self, record: Record) -> None:
        """Its begin, the begin of its end, and its end."""
        id = fault_id(record)
        fault = self._faults.get(id)
        if record.op == "inject":
            self._begun[id] = record.seq
        elif record.op == "ending" and record.data.get("cure"):
            self._curing.add(id)
        elif record.type == "heal" and fault is not None:
            self._end_fault(id, fault, record)

    def _end_fault(self, id: str, fault: Record, heal: Record) -> None:
        """Of a restore that did not go well nobody knows how far it went, unless it was refused."""
        if fault.op == _DELETED and heal.data.get("verified"):
            self.deleted.pop(f"{id}{fault.seq}", None)
        if fault.op == _RESTORES and id in self._curing and heal.data.get("verified"):
            self.struck.pop(id, None)  # they are there again: who loses them now has lost them
        refused = _REFUSED in str(heal.data.get("seen", ""))
        if fault.op in (_RESTORES, _ROLLBACK) and id in self._curing and not refused:
            # Of a named backup that this run did not take nobody here knows how old it is.
            named = str(fault.data.get("values", {}).get("backup") or "")
            since = self._backups.get(named, 0) if named else self._begun.get(id, fault.seq)
            servers = frozenset(map(str, fault.data.get("restores", ())))
            self.restored.append(_Restored(since, heal.seq, servers))

    def is_struck(self, key: str) -> bool:
        """Whether somebody revoked or destroyed it, and did not put it back."""
        return any(key in keys for keys in self.struck.values())

    def explain_loss(self, key: str) -> str:
        """Why its loss is what somebody wanted, or was told of; empty when it is not."""
        seq, provider = self.acked[key]
        if self.is_struck(key):
            return "struck at their key server"
        if provider in self.deleted.values() or "" in self.deleted.values():
            return "of a deleted provider"
        for one in self.restored:
            if (
                one.since < seq < one.until
                and self.servers.get(provider, one.servers) & one.servers
            ):
                return "newer than a backup that was put back (SC-14)"
        return ""


def _provider(record: Record) -> str:
    """Which provider a ``provider.delete`` is about; empty when that is not said."""
    data = record.data
    return str(data.get("deleted") or data.get("values", {}).get("provider") or "")


def acked_key_recoverable(records: Sequence[Record]) -> Finding:
    """Pass when the provider can still give every acknowledged key at the end.

    ``ok`` records with ``data.key`` acknowledge. The ``keys`` states of the end list the keys that
    each provider can give (``available``), and whether it answered (``asked``).
    """
    keys = _Keys()
    for record in records:
        keys.take(record)
    gone = [key for key in keys.acked if key not in keys.available]
    told = {key: why for key in gone if (why := keys.explain_loss(key))}
    kept = [key for key in keys.acked if key not in told and not keys.is_struck(key)]
    excused = _format_excused([*told.values()])
    lost = [key for key in kept if key in keys.asked and key not in keys.available]
    silent = [key for key in kept if key not in keys.asked]
    if lost:
        where = tuple(keys.acked[key][0] for key in lost)
        text = f"{len(lost)} of {len(kept)} lost ({_place(kept, lost)}): {', '.join(lost)}"
        return Finding(CheckOutcome.FAIL, f"{text}{excused}", where)
    if not kept:
        return Finding(
            CheckOutcome.UNKNOWN, f"no key was acknowledged in this run, and kept{excused}"
        )
    if silent:
        text = f"{len(silent)} of {len(kept)} could not be asked for"
        return Finding(CheckOutcome.UNKNOWN, f"{text}{excused}")
    text = f"all {len(kept)} acknowledged keys are available"
    return Finding(CheckOutcome.PASS, f"{text}{excused}")


def _format_excused(reasons: Sequence[str]) -> str:
    """How many are gone for which reason, as the end of a sentence."""
    counted = {why: reasons.count(why) for why in dict.fromkeys(reasons)}
    return "".join(f"; {count} gone as told: {why}" for why, count in counted.items())


def _place(kept: Sequence[str], lost: Sequence[str]) -> str:
    """Where the lost ones stand among those that were acknowledged, in order."""
    places = [kept.index(key) for key in lost]
    whole = places == list(range(places[0], places[-1] + 1))
    if len(lost) == len(kept):
        return "all"
    if whole and places[0] == 0:
        return "the first"
    if whole and places[-1] == len(kept) - 1:
        return "the last"
    return "in the middle"
