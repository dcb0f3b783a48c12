"""Makes ``docs/knobs.md`` out of the table of knobs and the rules.

.venv/bin/python -m tests.docs.knobs_page     # writes the page anew
"""

from __future__ import annotations

import re
from pathlib import Path

from lab.local.explain import all_rules
from services.knobs import KnobRow, table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "knobs.md"
HEAD = """\
# Knobs

Where the product's documents contradict each other or are silent, the lab has a knob, with a
default that [the rules](rules.md) give (C1 to C28). Other knobs are times and limits that nobody
publishes. This page is made from the table that every service reads its knobs from;
`keystead explain knob NAME` shows one of them.

A lab file sets them under `knobs`; `keystead up --set NAME=VALUE` does it for one lab. What an open
question decides is seen in the truth table:

```sh
keystead matrix --knob vc_key_cache_s=3600 --block S10 --fault F1     # which cells move?
```
"""
NOT_A_KNOB = "none"


def questions() -> dict[str, str]:
    """The open questions by id, in the order of the rules."""
    return {id: rule.title for id, rule in all_rules().items() if re.fullmatch(r"C\d+", id)}


def page() -> str:
    """The whole page."""
    rows = list(table().values())
    parts = [HEAD, "## Open questions", ""]
    parts += [
        "| id | question | knob | default | what other values change |",
        "|---|---|---|---|---|",
    ]
    rules = all_rules()
    for id, title in questions().items():
        mine = [row for row in rows if row.rule == id]
        parts += [_question(id, title, row) for row in mine]
        if not mine:
            text = " ".join(rules[id].text.split()).removesuffix("There is no knob.").strip()
            parts.append(f"| {id} | {title} | {NOT_A_KNOB} | | {text} |")
    parts += [
        "",
        "## All knobs",
        "",
        "| knob | what it decides | default | values | read by | rule |",
    ]
    parts.append("|---|---|---|---|---|---|")
    parts += [_knob(row) for row in rows]
    return "\n".join(parts) + "\n"


def _question(id: str, title: str, row: KnobRow) -> str:
    return f"| {id} | {title} | `{row.name}` | {_written(row.default)} | {row.instead} |"


def _knob(row: KnobRow) -> str:
    readers = ", ".join(row.read_by)
    said = row.text if re.fullmatch(r"C\d+", row.rule) else f"{row.text} {row.instead}".strip()
    cells = (f"`{row.name}`", said, _written(row.default), row.values, readers, row.rule)
    return "| " + " | ".join(cells) + " |"


def _written(value: object) -> str:
    """A value as a lab file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return str(list(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page())
