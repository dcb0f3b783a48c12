"""What nodes of a lab wrote down, also of a lab that is stopped or was killed."""

from __future__ import annotations

from collections.abc import Sequence

from lab.logs.records import NodeLogs
from lab.schema.answers.lab import LogLine
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder, LabRecord
from lab.supervise.launching import LabState, not_running, state_of


class LogsOfLab:
    """The logs of ``nodes`` (empty: all) from ``level`` upwards.

    Making one raises ``KeysteadError``: KS-LAB-001 when there is no lab of that name, KS-USE-002
    for a node that it does not have.
    """

    def __init__(self, name: str, nodes: Sequence[str], level: str) -> None:
        self._lab = LabFolder(name)
        record = self._lab.record()
        if record is None:
            raise not_running(self._lab)
        known = _nodes(record)
        for node in nodes:
            if node not in known:
                text = f"there is no node {node}; there are {_few(known)}"
                raise KeysteadError("KS-USE-002", text)
        self._record = record
        self._reader = NodeLogs(self._lab.path / "logs", frozenset(nodes), level)

    @property
    def folder(self) -> str:
        """Where the files lie."""
        return str(self._reader.folder)

    @property
    def unreadable(self) -> int:
        """How many lines could not be read so far."""
        return self._reader.unreadable

    @property
    def grows(self) -> bool:
        """Whether the lab runs, so that more may come."""
        return state_of(self._lab) is LabState.RUNNING

    def read(self, back_s: float = 0.0) -> tuple[LogLine, ...]:
        """What is new since the last call, by lab time; of it the last ``back_s`` lab seconds, or
        all when that is 0."""
        found = self._reader.read()
        now = max([self._record.elapsed_s, *(record.at for record in found)])
        return tuple(
            LogLine(
                at=record.at,
                node=record.node,
                boot=record.boot,
                level=record.level,
                what=record.kind,
                fields=record.fields,
            )
            for record in found
            if not back_s or record.at >= now - back_s
        )


def _nodes(record: LabRecord) -> list[str]:
    file = record.file
    hosts = sum(c["hosts"]["count"] for c in file["clusters"]) + len(record.hosts_added)
    names = [n["name"] for n in (*file["vcenters"], *file["kms"])]
    return [*names, *(f"esxi-{n:03d}" for n in range(1, hosts + 1))]


def _few(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:7])} … {names[-1]}"
