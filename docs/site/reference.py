"""Reference pages, made of the registries: commands, words of experiments, errors."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence

from chaos.entries import EntryField
from chaos.reference import entries
from docs.site.pages import generated
from lab.cli.derived import list_derived
from lab.cli.grammar import COMMANDS, GROUPS
from lab.cli.program import ready_for
from lab.local.explain import errors

_NOUNS = {
    "fault": "What breaks, and for how long. `keystead fault KIND` and a schedule begin one.",
    "action": "What a schedule does: an operator's hand, not a defect.",
    "entry": "The ways to say when an entry of a schedule is played.",
    "selector": "The ways to name nodes and VMs, in files and on the command line.",
    "op": "Operations of a workload, at a rate that no answer changes.",
    "probe": "What a hypothesis measures.",
    "check": "What a run is judged by.",
    "guard": "What limits a run.",
}
_PLURAL = {"entry": "entries"}


def pages() -> dict[str, str]:
    """Each generated page by its path in the site."""
    made = {generated(_plural(noun)): _page(noun, told) for noun, told in _NOUNS.items()}
    return {**made, generated("errors"): _errors(), generated("commands"): _commands()}


def _plural(noun: str) -> str:
    return _PLURAL.get(noun, f"{noun}s")


def _page(noun: str, told: str) -> str:
    named = entries(noun)
    common = [field for field in named[0].fields if all(field in one.fields for one in named[1:])]
    lines = [f"# {_plural(noun).capitalize()}", "", told, ""]
    if common:
        lines += ["All of them have these fields:", "", *_table(common)]
    for entry in named:
        lines += [f"## {entry.name}", "", _prose(entry.text), ""]
        lines += _table([field for field in entry.fields if field not in common])
        lines += ["```yaml", entry.example, "```", ""]
    return "\n".join(lines)


def _table(fields: Sequence[EntryField]) -> list[str]:
    rows = [
        f"| `{one.name}` | {_cell(one.values)} | "
        f"{'needed' if one.required else f'`{one.default}`' * bool(one.default)} |"
        for one in fields
    ]
    return ["| field | values | default |", "|---|---|---|", *rows, ""] if rows else []


def _errors() -> str:
    lines = ["# Errors", "", "`keystead explain KS-LAB-001` shows one on a terminal.", ""]
    for error in errors().items:
        lines += [f"## {error.id}", ""]
        for name in ("meaning", "cause", "fix"):
            text = str(getattr(error, name, "") or "")
            if text:
                lines += [f"**{name.capitalize()}.** {_prose(text)}", ""]
    return "\n".join(lines)


def _commands() -> str:
    lines = ["# Commands", "", "What `--help` of each command shows.", ""]
    for words in sorted({*GROUPS, *list_derived(), *COMMANDS}):
        lines += [f"## keystead {words}", "", "```text", *_help(words), "```", ""]
    return "\n".join(lines)


def _help(words: str) -> Iterator[str]:
    app = ready_for([*words.split(), "--help"])
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        app.help_print(words.split())
    return (line.rstrip() for line in told.getvalue().strip().splitlines())


def _prose(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")
