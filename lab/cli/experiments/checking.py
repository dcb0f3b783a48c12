"""``check``: repeat the checks of a stored run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.names import RunName
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, plain, say, show
from lab.schema.tables import field

if TYPE_CHECKING:
    from chaos.history import Record
    from lab.schema.answers.local import JudgedCheck

_CODES: Final = {"pass": 0, "fail": 1, "unknown": 2}


def check(
    run: RunName,
    *,
    only: Annotated[tuple[str, ...], Parameter(help="Only this check; can be repeated.")] = (),
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Repeat the checks of a stored run on its history.

    keystead check edge-outage-reboot-sim-7
    keystead check edge-outage-reboot-sim-7 --only guests_read_back

    For a failed check the command shows the first record that violates it, the records around it,
    the faults that were active, and a command to reproduce it. Exit codes: 0 pass, 1 fail,
    2 unknown.
    """
    from lab.local.stored.checking import check as judged

    answer = judged(run, only)
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
        return _CODES[answer.verdict]
    columns = (field("result"), field("check"), field("invariant", "NO"), field("text", "SEEN"))
    show(answer, options.output, columns, key="check")
    for item in answer.items:
        _scene(item)
    ended = answer.ended if answer.ended != answer.verdict else ""
    say(f"{answer.verdict.upper()}  run {run}{f', which itself ended: {ended}' if ended else ''}")
    return _CODES[answer.verdict]


def _scene(item: JudgedCheck) -> None:
    if item.scene is None:
        return
    plain(
        f"\n{item.check}: first seen at record {item.scene.first}; active faults: "
        f"{'; '.join(item.scene.faults) or 'none'}"
    )
    for record in item.scene.records:
        mark = ">" if record.seq in item.records else " "
        plain(f"{mark} {line(record)}")
    plain(f"again: {item.reproduce}")


def line(record: Record) -> str:
    """A record of a history in one line."""
    data = msgspec.json.encode(record.data).decode() if record.data else ""
    what = f"{record.type} {record.op}".rstrip()
    return f"{record.seq:6d}  {record.t:10.3f} s  {record.node or '-':<12} {what}  {data}".rstrip()
