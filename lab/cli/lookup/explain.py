"""``explain``: one search over terms, commands, errors, rules, knobs, and what files can have."""

from __future__ import annotations

import textwrap
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from cyclopts import App

from lab.cli.asked import Format
from lab.cli.lookup.knobs import knob
from lab.cli.lookup.reference import REFERENCES, explain_named
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, hint, is_document, plain, say, show, table
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.schema.answers.local import Error, Rule

WIDTH: Final = 96  # characters of a line of text
LINE: Final = 100  # characters of a text in a row
ROWS: Final = 15  # that are shown at first


def explain(*words: str, options: LabOptions = LAB_DEFAULTS) -> None:
    """Explain a term, error, rule, command or field; without a word, list all errors.

    keystead explain KS-LAB-001
    keystead explain LOCK-01
    keystead explain proc.pause
    keystead explain locked
    keystead explain key persistence
    keystead explain
    """
    from lab.local.explain import errors, find_id, find_knob, noun_of

    query = " ".join(words)
    if not query:
        columns = (field("id"), field("title"), field("exit_code", "EXIT"))
        show(errors(), options.output, columns, (field("why"), field("fix")), key="id")
    elif noun := noun_of(query):
        explain_named(noun, query, options)
    elif found := find_id(query):
        _show_id(found, options)
    elif find_knob(query) is not None:
        knob(query, options=options)
    else:
        _show_matches(query, options)


def _show_id(found: Error | Rule, options: LabOptions) -> None:
    from lab.schema.answers.local import Rule

    if is_document(options.output):
        document(found, options.output)
    elif options.output is Format.NAME:
        plain(found.id)
    elif isinstance(found, Rule):
        plain(f"{found.id}: {found.title}\n")
        plain(textwrap.indent(_wrap(found.text), "  "))
    else:
        plain(f"{found.id}: {found.title}\n")
        plain(f"  {found.why}")
        plain(f"  fix: {found.fix}")
        plain(f"  exit code: {found.exit_code}")


def _show_matches(query: str, options: LabOptions) -> None:
    """Terms of the glossary with all of their text; of what else there is, a line each."""
    from lab.cli.lookup.commands import command_texts
    from lab.local.search import search

    found = search(query, command_texts())
    if options.output is Format.WIDE or is_document(options.output):
        columns = (field("kind"), field("name"), field("text"), field("see"))
        show(found, options.output, columns, key="name")
        return
    if options.output is Format.NAME:
        for match in found.items:
            plain(match.name)
        return
    terms = list(takewhile(lambda match: match.kind == "term", found.items))
    for term in terms:
        plain(_wrap(f"{term.name}: {term.text}") + "\n")
    others = found.items[len(terms) :]
    if others:
        table((field("kind"), field("name"), ("TEXT", lambda row: _cut(row.text))), others[:ROWS])
    if len(others) > ROWS:
        say(f"{len(others) - ROWS} more: keystead explain {query} -o wide")
    if others and others[0].see:
        hint(others[0].see)


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)


def _cut(text: str) -> str:
    return textwrap.shorten(text, LINE, placeholder=" ...", break_on_hyphens=False)


def rules(*, options: LabOptions = LAB_DEFAULTS) -> None:
    """List all rules that messages and documents cite.

    keystead explain rules
    keystead explain rules -o wide
    """
    from lab.local.explain import rules as all_rules

    columns = (field("id"), field("title"))
    show(all_rules(), options.output, columns, (field("group"), field("text")), key="id")


explaining = App(name="explain", help_format="plaintext")
explaining.default(explain)
for _command in (knob, rules, *REFERENCES):
    explaining.command(_command)
