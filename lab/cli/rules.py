"""``explain rules`` and ``explain LOCK-01``: the rules of ``docs/rules.md``, which code cites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, NamedTuple

from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, is_document, plain, show

Row = dict[str, Any]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
_HEADING: Final = re.compile(r"^(#{2,3}) (?:([A-Z]+-?\d+[a-z]?): )?(.+)$")
_WIDTH: Final = 96


class Rule(NamedTuple):
    """One rule: its id, what it says in a line and in a paragraph, the group it stands in."""

    id: str
    title: str
    text: str
    group: str


def read_rules(page: str) -> dict[str, Rule]:
    """The rules of a page by id, in the page's order.

    A heading ``### LOCK-01: Title`` begins a rule, its text goes on to the next heading; a
    heading without an id (``## Locking``) begins a group. ``ValueError`` for an id that stands
    there twice.
    """
    found: dict[str, Rule] = {}
    group, current = "", ""
    for line in page.splitlines():
        heading = _HEADING.match(line)
        if heading is None:
            if current:
                rule = found[current]
                found[current] = rule._replace(text=f"{rule.text} {line}".strip())
            continue
        current = heading[2] or ""
        if not current:
            group = heading[3]
        elif current in found:
            raise ValueError(f"{current} stands twice in the rules")
        else:
            found[current] = Rule(current, heading[3], "", group)
    return found


def all_rules() -> dict[str, Rule]:
    """Every rule of this checkout."""
    return read_rules(PAGE.read_text(encoding="utf-8"))


def rule_of(id: str) -> Rule | None:
    """The rule of that id, whatever its case; None when there is none."""
    return next((rule for known, rule in all_rules().items() if known.lower() == id.lower()), None)


def rules(*, options: Options = DEFAULTS) -> None:
    """Every rule that code, messages and documents cite: its id and what it says.

    keystead explain rules
    keystead explain rules -o wide
    """
    answer = {"kind": "RuleList", "items": [rule._asdict() for rule in all_rules().values()]}
    show(
        answer,
        options.output,
        (field("id"), field("title")),
        (field("group"), field("text")),
        key="id",
    )


def show_rule(rule: Rule, output: Format) -> None:
    """Print one rule, in the format asked for."""
    import textwrap

    if is_document(output):
        document({"kind": "Rule", **rule._asdict()}, output)
    elif output is Format.NAME:
        plain(rule.id)
    else:
        plain(f"{rule.id}: {rule.title}\n")
        plain(textwrap.indent(textwrap.fill(rule.text, _WIDTH, break_on_hyphens=False), "  "))
