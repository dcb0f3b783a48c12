"""What error ids, rules, knobs and the words of experiments mean.

Rules are those of ``docs/rules.md``, which code cites.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Final

import msgspec

from chaos.reference import NOUNS, entries
from lab.schema.answers.local import (
    Error,
    ErrorList,
    Knob,
    KnobList,
    Reference,
    ReferenceList,
    Rule,
    RuleList,
)
from lab.schema.errors import KeysteadError, all_ids, explanation_of
from protocol.printable import quote_if_needed
from services.knobs import KnobRow, near, table

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "rules.md"
_HEADING: Final = re.compile(r"^(#{2,3}) (?:([A-Z]+-?\d+[a-z]?): )?(.+)$")
_REASON: Final = re.compile(r"^(r)0+(?=\d)")


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
                text = f"{rule.text} {line}".strip()
                found[current] = msgspec.structs.replace(rule, text=text)
            continue
        current = heading[2] or ""
        if not current:
            group = heading[3]
        elif current in found:
            raise ValueError(f"{current} stands twice in the rules")
        else:
            found[current] = Rule(id=current, title=heading[3], text="", group=group)
    return found


def all_rules() -> dict[str, Rule]:
    """Every rule of this checkout."""
    return read_rules(PAGE.read_text(encoding="utf-8"))


def rule_of(id: str) -> Rule | None:
    """The rule of that id, whatever its case; None when there is none.

    A zero before the number of a reason does not count.
    """
    wanted = _REASON.sub(r"\1", id.lower())
    return next((rule for known, rule in all_rules().items() if known.lower() == wanted), None)


def rules() -> RuleList:
    """Every rule that code, messages and documents cite, in the order of its page."""
    return RuleList(items=tuple(all_rules().values()))


def errors() -> ErrorList:
    """Every error, by id."""
    return ErrorList(items=tuple(_error(id) for id in all_ids()))


def knobs() -> KnobList:
    """Every knob of a lab file, by name."""
    return KnobList(items=tuple(_knob(row) for row in table().values()))


def find_knob(name: str) -> Knob | None:
    """The knob of that name, whatever its case; None when there is none."""
    row = table().get(name.lower().replace("-", "_"))
    return _knob(row) if row is not None else None


def knob(name: str) -> Knob:
    """The knob of that name; KS-USE-002 with a near one."""
    found = find_knob(name)
    if found is None:
        text = f"there is no knob {quote_if_needed(name)}{near(name)}"
        raise KeysteadError("KS-USE-002", text, "`keystead explain knob` lists all")
    return found


def references(noun: str) -> ReferenceList:
    """Every fault, probe, op, check, selector or guard that an experiment's file can name."""
    return ReferenceList(noun=noun, items=entries(noun))


def reference(noun: str, name: str) -> Reference:
    """The one of that name, whatever its case; KS-USE-002 with near ones."""
    known = {entry.name.lower(): entry for entry in entries(noun)}
    found = known.get(name.lower()) or known.get(name.lower().replace("-", "_"))
    if found is None:
        others = difflib.get_close_matches(name.lower()[:80], known, n=3, cutoff=0.4)
        more = f"; did you mean {', '.join(others)}?" if others else ""
        fix = f"`keystead explain {noun}` lists all"
        raise KeysteadError("KS-USE-002", f"there is no {noun} {quote_if_needed(name)}{more}", fix)
    return Reference(noun=noun, entry=found)


def noun_of(id: str) -> str:
    """What kind of name ``id`` is in an experiment's file: fault, probe, ...; empty for none."""
    named = ((noun, entry.name) for noun in NOUNS for entry in entries(noun))
    return next((noun for noun, name in named if name.lower() == id.lower()), "")


def _knob(row: KnobRow) -> Knob:
    return Knob(**msgspec.structs.asdict(row))


def find_id(id: str) -> Error | Rule | None:
    """The rule or the error of that id, whatever its case; None when there is none."""
    rule = rule_of(id)
    if rule is not None:
        return rule
    return _error(id.upper()) if explanation_of(id.upper()) is not None else None


def explain_id(id: str) -> Error | Rule:
    """As ``find_id``; KS-USE-002 with near ones for none."""
    found = find_id(id)
    if found is not None:
        return found
    others = difflib.get_close_matches(id.upper(), [*all_ids(), *all_rules()], n=3, cutoff=0.6)
    more = f"; did you mean {', '.join(others)}?" if others else ""
    raise KeysteadError(
        "KS-USE-002",
        f"there is no error and no rule {quote_if_needed(id)}{more}",
        "`keystead explain` lists errors, `keystead explain rules` lists rules",
    )


def _error(id: str) -> Error:
    found = explanation_of(id)
    if found is None:
        raise KeyError(id)
    return Error(id=id, **found._asdict())
