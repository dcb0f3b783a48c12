"""Logs of nodes: merged by time, filtered, followed over a rotation; damaged lines are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.logs.records import NodeLogs, RecordLog
from protocol.messages.agent import NodeRecord
from protocol.terms import NodeName


def record(at: float, node: str, level: str = "info", **fields: Any) -> NodeRecord:
    return NodeRecord(at=at, node=NodeName(node), boot=1, level=level, kind="k", fields=fields)


def ats(records: list[NodeRecord]) -> list[float]:
    return [r.at for r in records]


def test_merged_by_time_and_filtered(tmp_path: Path) -> None:
    first, second = RecordLog(tmp_path / "agent-1.jsonl"), RecordLog(tmp_path / "agent-2.jsonl")
    for at, level in ((1.0, "info"), (4.0, "warning"), (5.0, "error")):
        first.write(record(at, "vcenter", level))
    second.write(record(3.0, "esxi-001", "debug"))
    second.write(record(2.0, "esxi-002"))
    first.close()
    second.close()
    assert ats(NodeLogs(tmp_path).read()) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert ats(NodeLogs(tmp_path, level="info").read()) == [1.0, 2.0, 4.0, 5.0]
    assert ats(NodeLogs(tmp_path, level="warning").read()) == [4.0, 5.0]
    assert ats(NodeLogs(tmp_path, frozenset({"esxi-001", "esxi-002"})).read()) == [2.0, 3.0]
    assert ats(NodeLogs(tmp_path).read(since=4.0)) == [4.0, 5.0]


def test_followed_over_a_rotation_nothing_is_lost_or_told_twice(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "agent-1.jsonl", limit=2000)
    reader, seen = NodeLogs(tmp_path), []
    for at in range(60):
        log.write(record(float(at), "kms", text="x" * 40))
        if at % 4 == 0:
            seen += ats(reader.read())
    log.close()
    seen += ats(reader.read())
    assert (tmp_path / "agent-1.jsonl.1").exists(), "there was no rotation"
    assert seen == [float(at) for at in range(60)]


def test_a_new_reader_reads_the_older_file_too(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "agent-1.jsonl", limit=900)
    for at in range(12):
        log.write(record(float(at), "kms", text="x" * 40))
    log.close()
    found = ats(NodeLogs(tmp_path).read())
    assert found == sorted(found) and found[-1] == 11.0
    assert len(found) > len((tmp_path / "agent-1.jsonl").read_text().splitlines())


def test_a_line_that_was_cut_off_is_counted_or_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "agent-1.jsonl"
    path.write_bytes(
        b'{"at": 1.0, "node": "kms", "level": "info", "boot": 1, "kind": "k"}\n'
        b'{"at": 2.0, "no\n[1]\nnull\n'
    )
    reader = NodeLogs(tmp_path)
    assert ats(reader.read()) == [1.0] and reader.unreadable == 3
    with path.open("ab") as file:
        file.write(b'{"at": 3.0, "node": "kms",')
        file.flush()
        assert reader.read() == []
        file.write(b' "level": "info", "boot": 1, "kind": "k"}\n')
        file.flush()
        assert ats(reader.read()) == [3.0]
