"""``explain knob``: what a lab file's knobs decide, and which values they may have."""

from __future__ import annotations

from typing import Any

from lab.cli.asked import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, pairs, plain, show
from lab.schema.tables import field


def knob(knob_name: str = "", *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Explain a knob, its values and its readers; without a name, list all knobs.

    keystead explain knob
    keystead explain knob heartbeat_s
    """
    from lab.local.explain import knob as one
    from lab.local.explain import knobs

    if not knob_name:
        default = ("DEFAULT", lambda row: as_written(row.default))
        columns = (field("name"), default, field("values"), field("read_by"))
        show(knobs(), options.output, columns, (field("rule"), field("text")), key="name")
        return
    found = one(knob_name)
    if is_document(options.output):
        document(found, options.output)
    elif options.output is Format.NAME:
        plain(found.name)
    else:
        plain(f"{found.name}: {found.text}")
        wanted = ("default", "values", "instead", "unit", "rule", "read_by")
        shown = [(n.replace("_", " "), as_written(getattr(found, n))) for n in wanted]
        pairs([(name, value) for name, value in shown if value != ""])


def as_written(value: Any) -> Any:
    """A value as a lab file has it."""
    return str(value).lower() if isinstance(value, bool) else value
