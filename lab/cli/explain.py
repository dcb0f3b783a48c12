"""``explain``: one search over terms, commands, errors, rules, knobs, and what files can have.

``schema``: the shape of every command and answer, and of the files that people write.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import Parameter as Place
from inspect import Signature, cleandoc
from itertools import starmap, takewhile
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple

from cyclopts import App, Parameter

from lab.cli.arguments import COMPLETERS
from lab.cli.derived import help_of
from lab.cli.grammar import COMMANDS, GROUPS
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, hint, is_document, pairs, plain, say, show, table
from lab.schema import commands
from lab.schema.commands import words_of
from lab.schema.tables import field

if TYPE_CHECKING:
    from lab.schema.answers.local import Error, Rule


def command_texts() -> dict[str, str]:
    """Words of every command and group -> the first paragraph of its help."""
    made = dict(GROUPS)
    for kind in commands.all_commands():
        if words_of(kind):
            made[words_of(kind)] = _first(help_of(kind))
    for words, place in COMMANDS.items():
        module, _, name = place.partition(":")
        function = getattr(import_module(f"lab.cli.{module}"), name)
        made[words] = _first(getattr(function, "help", "") or function.__doc__ or "")
    return made


def _first(text: str) -> str:
    return " ".join(cleandoc(text).split("\n\n")[0].split())


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


WIDTH: Final = 96  # characters of a line of text


class ReferenceWords(NamedTuple):
    """The words of ``explain NOUN``: its ``argument``, its help, what its second example names."""

    argument: str
    help: str
    example: str


REFERENCES: Final[Mapping[str, ReferenceWords]] = {
    "fault": ReferenceWords(
        "kind",
        "Explain a kind of fault and its fields, with an example; without a kind, list all.",
        "link.cut",
    ),
    "action": ReferenceWords(
        "kind",
        "Explain an action of a schedule and its fields; without a kind, list all actions.",
        "esx.persistence.enable",
    ),
    "entry": ReferenceWords(
        "way", "Explain a form of a schedule entry; without a name, list all forms.", "rolling"
    ),
    "probe": ReferenceWords(
        "probe_name",
        "Explain a probe of a hypothesis and its unit; without a name, list all probes.",
        "vm.running",
    ),
    "op": ReferenceWords(
        "operation",
        "Explain an operation of a workload; without a name, list all operations.",
        "key.create",
    ),
    "check": ReferenceWords(
        "check_name",
        "Explain a check of runs; without a name, list all checks.",
        "needs_no_kms",
    ),
    "selector": ReferenceWords(
        "form",
        "Explain the selectors of nodes and VMs, in files and on the command line.",
        '"25% of role:esxi"',
    ),
    "guard": ReferenceWords(
        "guard_name",
        "Explain a guard, which limits a run; without a name, list all guards.",
        "blast_radius",
    ),
}
"""The nouns of experiment files that ``explain`` has a command for."""


def _command_for(noun: str, words: ReferenceWords) -> Callable[..., None]:
    """The function of ``explain NOUN [NAME]``, for cyclopts."""
    named = Annotated[str, Parameter(completer=COMPLETERS[noun])]
    places = (
        Place(words.argument, Place.POSITIONAL_OR_KEYWORD, default="", annotation=named),
        Place("options", Place.KEYWORD_ONLY, default=LAB_DEFAULTS, annotation=LabOptions),
    )

    def command(name: str = "", *, options: LabOptions = LAB_DEFAULTS) -> None:
        explain_named(noun, name, options)

    line = f"keystead explain {noun}"
    command.__name__ = noun
    command.__doc__ = f"{words.help}\n\n{line}\n{line} {words.example}\n"
    command.__annotations__ = {place.name: place.annotation for place in places}
    command.__signature__ = Signature(places)  # type: ignore[attr-defined]
    return command


def explain_named(noun: str, name: str, options: LabOptions) -> None:
    """The entry of ``noun`` called ``name``, or all of that noun when ``name`` is empty."""
    from lab.local.explain import reference, references

    if not name:
        columns = (field("name"), field("text"))
        show(references(noun), options.output, columns, (field("example"),), key="name")
        return
    found = reference(noun, name)
    if is_document(options.output):
        document(found, options.output)
        return
    entry = found.entry
    if options.output is Format.NAME:
        plain(entry.name)
        return
    plain(textwrap.fill(f"{entry.name}: {entry.text}", WIDTH, break_on_hyphens=False))
    if entry.fields:
        needed = ("NEEDED", lambda row: "yes" if row.required else "")
        plain("")
        table((field("name", "FIELD"), field("values"), field("default"), needed), entry.fields)
    plain(f"\n  {entry.example}")


def schema(
    of: Annotated[
        Literal["api", "lab", "experiment"],
        Parameter(help="Commands and answers (api), or a kind of file, for editors."),
    ] = "api",
    *,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Print a JSON schema: of all commands and answers, of Lab files or of experiment files.

    keystead schema
    keystead schema experiment
    """
    from lab.local.schema import file_schema
    from lab.local.schema import schema as made_of_the_structs

    made = made_of_the_structs() if of == "api" else file_schema(of)
    match options.output:
        case Format.NAME:
            for name in made["commands" if of == "api" else "properties"]:
                plain(name)
        case Format.YAML:
            import yaml

            plain(yaml.safe_dump(made, sort_keys=False, allow_unicode=True))
        case _:
            plain(json.dumps(made, indent=2, ensure_ascii=False))


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
    from lab.local.explain import search

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
for _command in (knob, rules, *starmap(_command_for, REFERENCES.items())):
    explaining.command(_command)
