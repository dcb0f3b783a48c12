"""``explain knob``: what a lab file's knobs decide, and which values they may have."""

from __future__ import annotations

from typing import Any

from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, is_document, pairs, plain, show
from lab.errors import KeysteadError

Row = dict[str, Any]


def knob(knob_name: str = "", *, options: Options = DEFAULTS) -> None:
    """What a knob decides, its values and who reads it; without a name, the list of all.

    keystead explain knob
    keystead explain knob heartbeat_s
    """
    import msgspec

    from services.knobs import near, table

    rows = {known: msgspec.to_builtins(row) for known, row in table().items()}
    if not knob_name:
        default = ("DEFAULT", lambda row: _as_written(row["default"]))
        columns = (field("name"), default, field("values"), field("read_by"))
        answer = {"kind": "KnobList", "items": list(rows.values())}
        show(answer, options.output, columns, (field("rule"), field("text")), key="name")
        return
    if knob_name not in rows:
        raise KeysteadError(
            "KS-USE-002",
            f"there is no knob {knob_name}{near(knob_name)}",
            "`keystead explain knob` lists all",
        )
    row = rows[knob_name]
    if is_document(options.output):
        document({"kind": "Knob", **row}, options.output)
    elif options.output is Format.NAME:
        plain(knob_name)
    else:
        plain(f"{knob_name}: {row['text']}")
        shown = ("default", "values", "unit", "rule", "read_by")
        pairs(
            [(what.replace("_", " "), _as_written(row[what])) for what in shown if row[what] != ""]
        )


def _as_written(value: Any) -> Any:
    """A value as a lab file has it."""
    return str(value).lower() if isinstance(value, bool) else value
