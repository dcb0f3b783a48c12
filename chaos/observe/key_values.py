"""Where keys are: which value each key has in each place, compared without being seen, for
write-once checks; and what lies on a host's disk after its stored keys were removed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from chaos.draws import Draws
from chaos.history import History, Record, fault_id
from chaos.lab import LabUnderTest
from chaos.observe.look import WITHIN_S, nodes_of
from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprint, KeyFingerprints
from protocol.terms import KeyId, NodeName, Role

VALUES_OP: Final = "values"
"""Of the ``state`` records: ``keys`` by id that are new in a ``place`` (``server``, ``cache``,
``store``) of the node, or have another value there than before; the value is a number."""
MADE: Final = "creations"
"""Of the ``state`` record of each key server at the end: how many ``keys`` it has, and which of
them were made ``twice`` for one operation of a client."""
HELD: Final = "held"
"""Of the ``state`` record of each host at the end: the keys ``asked`` for, which were given up in
this run or are of a provider that was deleted, and which of them are in its ``cache`` and its
``store``."""
EVERY_S: Final = 150.0
_HOSTILE: Final = "host.hostile"  # the fault by which an intruder controls hosts


class Values:
    """The values of one run. They are read every ``EVERY_S`` lab seconds, and at every look while
    an intruder controls a host, because it may lose again what it obtains."""

    def __init__(self, lab: LabUnderTest, history: History, draws: Draws) -> None:
        self._lab, self._history = lab, history
        self._question = FingerprintKeys(secret=draws.token(32))
        self._numbers: dict[str, int] = {}
        self._last: dict[tuple[NodeName, str], dict[str, int]] = {}
        self._due = 0.0
        self._intruders: set[str] = set()  # ids of the faults that are active
        history.watchers.append(self._follow)

    def _follow(self, record: Record) -> None:
        if record.type == "fault" and record.op == _HOSTILE:
            self._intruders.add(fault_id(record))
        elif record.type == "heal":
            self._intruders.discard(fault_id(record))

    async def look(self) -> None:
        """Read the hosts' values, if it is time."""
        if self._intruders or self._lab.monotonic() >= self._due:
            await self._ask(Role.ESXI)
            self._due = self._lab.monotonic() + EVERY_S

    async def whole(self, *, end: bool = False) -> None:
        """Read the values of key servers and hosts now; at the end, also keys that were made
        twice."""
        found = await self._ask(Role.KMS)
        held = await self._ask(Role.ESXI)
        self._due = self._lab.monotonic() + EVERY_S
        for server, keys in found.items() if end else ():
            self._history.add("state", server, op=MADE, keys=len(keys), twice=_twice(keys))
        records = self._history.records
        given_up = {str(r.data["gone"]) for r in records if "gone" in r.data}
        given_up |= _keys_of_deleted(records)
        for host, keys in held.items() if end and given_up else ():
            self._history.add("state", host, op=HELD, **_find_left(keys, given_up))

    async def _ask(self, role: Role) -> dict[NodeName, list[KeyFingerprint]]:
        """What the nodes of this role have that tell all of it, page by page."""
        found: dict[NodeName, list[KeyFingerprint]] = {}
        behind: dict[tuple[str, KeyId], list[NodeName]] = {
            ("", KeyId("")): list(nodes_of(self._lab, role))
        }
        while behind:
            (place, after), nodes = behind.popitem()
            question = msgspec.structs.replace(self._question, place=place, after=after)
            answers = await self._lab.ask_each(nodes, question, within_s=WITHIN_S)
            for node in nodes:
                answer = answers.get(node)
                if not isinstance(answer, KeyFingerprints):
                    found.pop(node, None)
                    continue
                found.setdefault(node, []).extend(answer.keys)
                if answer.last:
                    behind.setdefault((answer.place, answer.last), []).append(node)
        for node, keys in found.items():
            self._write(node, keys)
        return found

    def _write(self, node: NodeName, keys: Iterable[KeyFingerprint]) -> None:
        changed: dict[str, dict[str, int]] = {}
        for key in keys:
            number = self._numbers.setdefault(key.fingerprint, len(self._numbers) + 1)
            known = self._last.setdefault((node, key.place), {})
            if known.get(key.key_id) != number:
                known[key.key_id] = number
                changed.setdefault(key.place, {})[str(key.key_id)] = number
        for place, new in changed.items():
            self._history.add("state", node, op=VALUES_OP, place=place, keys=new)


def _keys_of_deleted(records: Sequence[Record]) -> set[str]:
    """The keys of VMs and hosts that were of a provider which an administrator has deleted."""
    deleted = {str(r.data["deleted"]) for r in records if r.type == "ok" and "deleted" in r.data}
    used = [
        key
        for r in records
        if deleted and r.type == "state" and r.op in ("vm", "host")
        for key in (*r.data.get("keys", ()), r.data.get("key"))
    ]
    parts = [str(key).partition("/") for key in used if key]
    return {key_id for provider, _, key_id in parts if provider in deleted}


def _find_left(keys: Iterable[KeyFingerprint], given_up: set[str]) -> dict[str, list[str]]:
    """Where the keys are that were given up."""
    found: dict[str, list[str]] = {"asked": sorted(given_up), "cache": [], "store": []}
    for key in keys:
        if str(key.key_id) in given_up:
            found[key.place].append(str(key.key_id))
    return found


def _twice(keys: Iterable[KeyFingerprint]) -> dict[str, list[str]]:
    """Keys that one server made for one operation, where there is more than one."""
    made: dict[tuple[str, str, str], list[str]] = {}
    for key in keys:
        made.setdefault((key.scope, key.operation, key.origin), []).append(str(key.key_id))
    return {operation: ids for (_, operation, _), ids in made.items() if len(ids) > 1}


Opened = Callable[[NodeName], Awaitable[Mapping[str, Sequence[str] | None]]]
"""The persisted keys in each archive that lies anywhere on the host's disk, by path; None for one
that nobody could open."""

REMAINS_OP: Final = "remains"
"""Of the ``state`` records: ``when`` (``before`` a removal, when it was ``answered``, ``held`` for
a while, ``end`` of the run), how many ``files`` were opened, the ``keys`` that lie in them by path,
and the paths that were ``closed``."""


class Remains:
    """The hosts whose removal was acknowledged and that were not enabled since."""

    def __init__(self, history: History, opened: Opened) -> None:
        self._history, self._opened = history, opened
        self.bare: dict[NodeName, None] = {}

    async def look(self, host: NodeName, when: str) -> int:
        """Record what is on the host's disk; returns the number of keys."""
        found = await self._opened(host)
        keys = {path: list(ids) for path, ids in found.items() if ids}
        closed = [path for path, ids in found.items() if ids is None]
        files = len(found) - len(closed)
        self._history.add(
            "state", host, op=REMAINS_OP, when=when, files=files, keys=keys, closed=closed
        )
        return len({key for ids in keys.values() for key in ids})

    async def end(self) -> None:
        """Look once more at hosts that were left without stored keys."""
        for host in self.bare:
            await self.look(host, "end")
