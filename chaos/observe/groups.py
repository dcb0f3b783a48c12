"""How key servers stand that replicate after the answer, and whether they agree at the end; the
latter of pairs too.

Nobody is asked in a lab without servers that replicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from chaos.history import History
from chaos.lab import Lab, NodeEntry
from protocol.messages.kms import GroupStatus, KeyDigest, PairStatus, QueryGroup, QueryPair
from protocol.terms import NodeName, Role

OP: Final = "group"
"""Of the ``state`` record of a key server when it stands otherwise than before: ``waiting`` keys by
peer, peers that are ``down``, keys ``at_risk``, which only it has, ids with two materials
(``breaches``), the number of ``conflicts`` and ``stale_serves``, the longest lag in seconds by
origin (``worst_lag_s``), and in mode ``forward`` who is ``active`` by which ``term``."""
AGREE: Final = "replicas"
"""Of the ``state`` record of each key server at the end: the ``group`` of those that it replicates
with, and its ``keys`` by id with a number, the same for what is the same. A server that could not
be asked has none."""
WITHIN_S: Final = 10.0
SETTLE_S: Final = 120.0
"""How long servers may take at the end to agree, after all faults are gone."""
POLL_S: Final = 10.0


class _Has(NamedTuple):
    """What a server has; ``group``: the names of those that shall have the same."""

    group: tuple[NodeName, ...]
    digests: tuple[KeyDigest, ...]


class Groups:
    """The groups of one run; ``look`` each time that the lab is looked at."""

    def __init__(self, lab: Lab, history: History) -> None:
        self._lab, self._history = lab, history
        self._last: dict[NodeName, dict[str, Any]] = {}
        self._numbers: dict[str, int] = {}

    async def look(self) -> dict[NodeName, GroupStatus]:
        """How each server stands that answers; written down when it is not as before."""
        return await self._ask(digests=False)

    async def end(self) -> None:
        """Wait until they agree, for as long as they may take, and write down what each has."""
        until = self._lab.monotonic() + SETTLE_S
        found = await self._contents()
        while found and not _agree(found) and self._lab.monotonic() < until:
            await self._lab.sleep(POLL_S)
            found = await self._contents()
        for node, has in found.items():
            keys = {str(key.key_id): self._number(key.digest) for key in has.digests}
            self._history.add("state", node, op=AGREE, group=list(map(str, has.group)), keys=keys)

    async def _contents(self) -> dict[NodeName, _Has]:
        """What each server has that replicates and answers."""
        found = {
            node: _Has(_together(node, *[peer.node for peer in status.peers]), status.digests)
            for node, status in (await self._ask(digests=True)).items()
            if status.peers
        }
        paired = _paired(self._lab.directory().nodes)
        if not paired:
            return found
        answers = await self._lab.ask_each(paired, QueryPair(digests=True), within_s=WITHIN_S)
        for node, told in answers.items():
            if isinstance(told, PairStatus) and told.peer is not None:
                found[node] = _Has(_together(node, told.peer), told.digests)
        return found

    async def _ask(self, *, digests: bool) -> dict[NodeName, GroupStatus]:
        nodes = [entry.node for entry in self._lab.directory().nodes if entry.replication]
        if not nodes:
            return {}
        answers = await self._lab.ask_each(nodes, QueryGroup(digests=digests), within_s=WITHIN_S)
        found = {node: told for node, told in answers.items() if isinstance(told, GroupStatus)}
        for node, status in found.items():
            told = _told(status)
            if self._last.get(node) != told:
                self._last[node] = told
                self._history.add("state", node, op=OP, **told)
        return found

    def _number(self, digest: str) -> int:
        """A digest is of random bytes: the history has the number under which it was first seen."""
        return self._numbers.setdefault(digest, len(self._numbers) + 1)


def _together(*servers: NodeName) -> tuple[NodeName, ...]:
    return tuple(sorted(servers))


def _paired(nodes: Iterable[NodeEntry]) -> list[NodeName]:
    """Key servers that have a provider with another one and do not replicate after the answer."""
    servers = [entry for entry in nodes if entry.role is Role.KMS and not entry.replication]
    serving = Counter(provider for entry in servers for provider in entry.providers)
    return [entry.node for entry in servers if any(serving[it] > 1 for it in entry.providers)]


def _agree(found: dict[NodeName, _Has]) -> bool:
    return len(set(found.values())) == len({has.group for has in found.values()})


def _told(status: GroupStatus) -> dict[str, Any]:
    active = {} if status.active is None else {"active": str(status.active), "term": status.term}
    return {
        "waiting": {str(peer.node): peer.waiting for peer in status.peers if peer.waiting},
        "down": [str(peer.node) for peer in status.peers if peer.down_since is not None],
        "at_risk": list(map(str, status.at_risk)),
        "breaches": [[str(breach.key_id), str(breach.peer)] for breach in status.breaches],
        "conflicts": status.conflicts,
        "stale_serves": status.stale_serves,
        "worst_lag_s": {str(one.node): round(one.worst_lag_s, 3) for one in status.origins},
        **active,
    }
