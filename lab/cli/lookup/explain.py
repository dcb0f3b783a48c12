"""``explain``: error ids, rules, knobs, and what an experiment's file can name."""

from __future__ import annotations

import textwrap

from cyclopts import App

from lab.cli.lookup.knobs import knob
from lab.cli.lookup.reference import REFERENCES, explain_named
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, is_document, plain, show
from lab.schema.tables import field

WIDTH = 96  # characters of a line of a rule's text


def explain(id: str = "", *, options: Options = DEFAULTS) -> None:
    """What an error means and what to do about it, what a rule or a fault says; alone: all errors.

    keystead explain KS-LAB-001
    keystead explain LOCK-01
    keystead explain proc.pause
    keystead explain
    """
    from lab.local.explain import errors, explain_id, noun_of
    from lab.schema.answers.local import Rule

    if not id:
        columns = (field("id"), field("title"), field("exit_code", "EXIT"))
        show(errors(), options.output, columns, (field("why"), field("fix")), key="id")
        return
    noun = noun_of(id)
    if noun:
        explain_named(noun, id, options)
        return
    found = explain_id(id)
    if is_document(options.output):
        document(found, options.output)
    elif options.output is Format.NAME:
        plain(found.id)
    elif isinstance(found, Rule):
        plain(f"{found.id}: {found.title}\n")
        plain(textwrap.indent(textwrap.fill(found.text, WIDTH, break_on_hyphens=False), "  "))
    else:
        plain(f"{found.id}: {found.title}\n")
        plain(f"  {found.why}")
        plain(f"  fix: {found.fix}")
        plain(f"  exit code: {found.exit_code}")


def rules(*, options: Options = DEFAULTS) -> None:
    """Every rule that code, messages and documents cite: its id and what it says.

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
