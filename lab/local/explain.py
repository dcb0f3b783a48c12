"""What error ids, rules, knobs and the words of experiments mean, and one search over everything
that has a name: glossary, commands, what experiments and lab files can have.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
from pydantic import BaseModel

from chaos.experiment.model import (
    Checks,
    FinalPhase,
    Guards,
    Heading,
    Load,
    NegativeControl,
    Offered,
    Probed,
    Recover,
    Requires,
    TopologyUse,
)
from chaos.fields import describe_fields
from chaos.reference import NOUNS, entries
from lab.schema.answers.local import (
    Error,
    ErrorList,
    Knob,
    KnobList,
    Match,
    MatchList,
    Reference,
    ReferenceList,
    Rule,
    RuleList,
)
from lab.schema.errors import KeysteadError, all_ids, explanation_of
from lab.topology.lab_file import LabFile
from protocol.printable import did_you_mean, quote_if_needed
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
        more = did_you_mean(name.lower(), known, most=3, cutoff=0.4)
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
    near = did_you_mean(id.upper(), [*all_ids(), *all_rules()], most=3)
    raise KeysteadError(
        "KS-USE-002",
        f"there is no error and no rule {quote_if_needed(id)}{near}",
        "`keystead explain` lists errors, `keystead explain rules` lists rules",
    )


def _error(id: str) -> Error:
    found = explanation_of(id)
    if found is None:
        raise KeyError(id)
    return Error(id=id, **found._asdict())


GLOSSARY: Final = Path(__file__).resolve().parents[2] / "docs" / "glossary.md"
_TOPICS: Final[Mapping[str, type[BaseModel]]] = {
    "topology": TopologyUse,
    "requires": Requires,
    "workload": Load,
    "load": Offered,
    "hypothesis": Probed,
    "recover": Recover,
    "guards": Guards,
    "final": FinalPhase,
    "checks": Checks,
    "negative_control": NegativeControl,
}
"""The sections of an experiment's file."""
_ROW: Final = re.compile(r"\| (?P<words>[^|]+) \| (?P<text>[^|]+) \|")
_TOKEN: Final = re.compile(r"[a-z0-9]+")
_ID: Final = re.compile(r"[A-Z]+(-[A-Z]+)*-?[0-9]+[A-Z]?")
_NEAR: Final = 0.7
_BY_FIELD: Final = 2  # the rank of what has a field of that name
_BY_PART: Final = 4  # ... and of what has the word as a part of another one


class _Entry(NamedTuple):
    """``fields``: its fields with their values, by which it is found too."""

    match: Match
    fields: Mapping[str, str] = MappingProxyType({})


def search(query: str, commands: Mapping[str, str]) -> MatchList:
    """What ``query`` names, and what speaks of it, the closest first.

    ``commands``: words of each command, and what it does. KS-USE-002 with near names when there is
    nothing.
    """
    words = _TOKEN.findall(query.lower())
    ranked = []
    index = list(_index(commands))
    for place, entry in enumerate(index):
        rank = _rank(query.lower(), words, entry) if words else None
        if rank is not None:
            ranked.append(
                (rank, place, _with_field(entry, words) if rank == _BY_FIELD else entry.match)
            )
    ids = _near_ids(query) if min(ranked, default=(_BY_PART,))[0] >= _BY_PART else []
    if ids or not ranked:
        near = ids or _near(words, index)
        more = f"; did you mean {', '.join(near)}?" if near else ""
        raise KeysteadError(
            "KS-USE-002",
            f"nothing has to do with {quote_if_needed(query)}{more}",
            "`keystead explain` lists errors, `keystead explain rules` rules, and so `fault`, "
            "`probe`, `check`, `action`, `knob`",
        )
    return MatchList(query=query, items=tuple(match for _, _, match in sorted(ranked)))


def _rank(query: str, words: list[str], entry: _Entry) -> int | None:
    """0 for its very name, more for what is further away, None for what does not match."""
    name = entry.match.name.lower()
    names = [one.strip() for one in name.split(", ")]
    if query in names:
        return 0
    in_name, in_text = _TOKEN.findall(name), _TOKEN.findall(entry.match.text.lower())
    for rank, tokens in ((1, in_name), (_BY_FIELD, entry.fields), (3, in_text)):
        if all(word in tokens for word in words):
            return rank
    every = [*in_name, *entry.fields, *in_text]
    if all(any(token.startswith(word) for token in every) for word in words):
        return _BY_PART
    whole = f"{name} {entry.match.text}".lower()
    return _BY_PART + 1 if all(len(word) > 2 and word in whole for word in words) else None


def _with_field(entry: _Entry, words: list[str]) -> Match:
    """With the fields that are called so before the text."""
    found = ", ".join(f"{word} ({entry.fields[word]})" for word in words)
    text = f"field {found}: {entry.match.text}"
    return msgspec.structs.replace(entry.match, text=text)


def _near_ids(query: str) -> list[str]:
    """Ids of rules and errors that are nearly ``query``, when that is like one."""
    if not _ID.fullmatch(query.upper()):
        return []
    known = [*all_ids(), *all_rules()]
    return difflib.get_close_matches(query.upper(), known, n=3, cutoff=_NEAR)


def _near(words: list[str], index: Iterable[_Entry]) -> list[str]:
    """Words of names that are nearly one of these."""
    known = {token for entry in index for token in _TOKEN.findall(entry.match.name.lower())}
    found = [
        near
        for word in words
        for near in difflib.get_close_matches(word[:80], sorted(known), n=3, cutoff=_NEAR)
    ]
    return list(dict.fromkeys(found))


def _index(commands: Mapping[str, str]) -> Iterator[_Entry]:
    """Of two that are as near, the one that comes first here."""
    for words, text in read_glossary(GLOSSARY.read_text(encoding="utf-8")).items():
        yield _Entry(Match(kind="term", name=words, text=text))
    for command, text in commands.items():
        yield _make_entry("command", command, text, f"keystead {command} --help")
    for noun in NOUNS:
        for entry in entries(noun):
            see = f"keystead explain {noun} {entry.name}"
            fields = {field.name.lower(): field.values for field in entry.fields}
            yield _make_entry(noun, entry.name, entry.text, see, fields)
    for path, text in describe_fields(LabFile):
        yield _make_entry("lab file", path, text, "keystead lab new")
    for path, text in describe_fields(Heading):
        yield _make_entry("experiment", path, text, "keystead chaos new")
    for section, model in _TOPICS.items():
        doc = " ".join((model.__doc__ or "").replace("``", "`").split())
        yield _make_entry("experiment", section, doc, "keystead chaos new")
        for path, text in describe_fields(model, f"{section}."):
            yield _make_entry("experiment", path, text, "keystead chaos new")
    for knob in knobs().items:
        yield _make_entry("knob", knob.name, knob.text, f"keystead explain knob {knob.name}")
    for rule in all_rules().values():
        text = f"{rule.title}. {rule.text}"
        yield _make_entry("rule", rule.id, text, f"keystead explain {rule.id}")
    for error in errors().items:
        text = f"{error.title}. {error.why}"
        yield _make_entry("error", error.id, text, f"keystead explain {error.id}")


def _make_entry(
    kind: str, name: str, text: str, see: str, fields: Mapping[str, str] = MappingProxyType({})
) -> _Entry:
    return _Entry(Match(kind=kind, name=name, text=text, see=see), fields)


def read_glossary(page: str) -> dict[str, str]:
    """The terms of a glossary's tables, as they are written there (``group, pair``), with what each
    means; without the marks of Markdown."""
    rows = (_ROW.fullmatch(line) for line in page.splitlines())
    plain = [(_unmark(row["words"]), _unmark(row["text"])) for row in rows if row is not None]
    return {words: text for words, text in plain if words != "word" and words.strip("-")}


def _unmark(text: str) -> str:
    return text.replace("*", "").strip()
