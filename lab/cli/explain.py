"""``explain``: error ids, rules and knobs."""

from __future__ import annotations

from typing import Any

from cyclopts import App

from lab.cli.entry import enter
from lab.cli.knobs import knob
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, is_document, plain, show
from lab.cli.rules import all_rules, rule_of, rules, show_rule
from lab.errors import KeysteadError, all_ids, entry


def explain(id: str = "", *, options: Options = DEFAULTS) -> None:
    """What an error means and what to do about it, or what a rule says; alone: all errors.

    keystead explain KS-LAB-001
    keystead explain LOCK-01
    keystead explain
    """
    if not id:
        items = [_entry(known) for known in all_ids()]
        columns = (field("id"), field("title"), field("exit_code", "EXIT"))
        answer = {"kind": "ErrorList", "items": items}
        show(answer, options.output, columns, (field("why"), field("fix")), key="id")
        return
    rule = rule_of(id)
    if rule is not None:
        show_rule(rule, options.output)
        return
    if entry(id.upper()) is None:
        import difflib

        known_ids = [*all_ids(), *all_rules()]
        near = difflib.get_close_matches(id.upper(), known_ids, n=3, cutoff=0.6)
        more = f"; did you mean {', '.join(near)}?" if near else ""
        raise KeysteadError(
            "KS-USE-002",
            f"there is no error and no rule {id}{more}",
            "`keystead explain` lists errors, `keystead explain rules` lists rules",
        )
    found = _entry(id.upper())
    if is_document(options.output):
        document({"kind": "Error", **found}, options.output)
        return
    if options.output is Format.NAME:
        plain(found["id"])
        return
    plain(f"{found['id']}: {found['title']}\n")
    plain(f"  {found['why']}")
    plain(f"  fix: {found['fix']}")
    plain(f"  exit code: {found['exit_code']}")


def _entry(id: str) -> dict[str, Any]:
    found = entry(id)
    return {"id": id, **(found._asdict() if found else {})}


def register(app: App) -> None:
    explaining = App(name="explain", help_format="plaintext")
    explaining.default(explain)
    enter(explaining, knob, rules)
    app.command(explaining)
