"""The program that parses a command line: cyclopts, with the commands that are derived of their
structs, and those of ``grammar``."""

from __future__ import annotations

from functools import cache
from inspect import cleandoc
from itertools import takewhile
from textwrap import dedent

from cyclopts import App, Parameter

from lab.cli.derived import list_derived
from lab.cli.grammar import COMMANDS, GROUPS
from lab.cli.options import GENERAL

VERSION = "--version"
HELP = frozenset({"-h", "--help"})


_GENERAL = "General options, of each command for which they mean something:\n\n" + "\n".join(
    f"  {names:14} {text}." for names, text in GENERAL
)
_GENERAL_SHORT = "General options (-o, -q, -n, --vcenter, --user): keystead --help"
ALIASES = {"top": "watch", "ls": "list"}


def spell_out(arguments: list[str]) -> list[str]:
    """The command line with other spellings replaced: ``help vm``, ``ls``, ``top``, ``get vm`` for
    ``get vms``, ``vm list`` for the same."""
    match arguments:
        case ["help", *words]:
            return [*words, "--help"]
        case [word, *rest] if word in ALIASES:
            return [ALIASES[word], *rest]
        case ["get", noun, *rest] if (
            f"get {noun}" not in _list_get_commands() and f"get {noun}s" in _list_get_commands()
        ):
            return ["get", f"{noun}s", *rest]
        case [noun, "list", *rest] if f"get {noun}s" in _list_get_commands():
            return ["get", f"{noun}s", *rest]
        case [noun, "list", *rest] if f"get {noun}" in _list_get_commands():
            return ["get", noun, *rest]
    return arguments


@cache
def _list_get_commands() -> frozenset[str]:
    return frozenset(words for words in {**list_derived(), **COMMANDS} if words.startswith("get "))


def ready_for(arguments: list[str]) -> App:
    """The program for this command line.

    A line that ends with a group is answered by a list of its commands, in a help or in an error:
    these are imported then, for what they say of themselves.
    """
    app = build()
    words = list(takewhile(lambda word: not word.startswith("-"), arguments))
    _, groups, _ = app.parse_commands(words)
    app.help_epilogue = _GENERAL if not words else _GENERAL_SHORT
    if VERSION not in arguments:
        groups[-1].resolved_commands()
    if not HELP.isdisjoint(arguments):
        groups[-1].help = flowing(groups[-1].help)
    return app


def flowing(text: str) -> str:
    """A help text whose paragraphs are as wide as the terminal makes them; lines of examples stay
    as they are."""
    paragraphs = cleandoc(text).split("\n\n")
    return "\n\n".join(
        dedent(one) if _is_example(one) else " ".join(one.split()) for one in paragraphs
    )


def _is_example(paragraph: str) -> bool:
    return paragraph.lstrip().startswith(("keystead ", "./keystead "))


def build() -> App:
    """The whole program with every command; none is imported before it is wanted."""
    app = App(
        name="keystead",
        help="A laboratory for vSphere key persistence: which VMs and keys survive which "
        "failure.\n\n"
        "    keystead up\n    keystead get vms\n\n"
        "The script ./keystead of a checkout has two more commands: `./keystead setup` builds the "
        "environment, `./keystead test` runs linters, type checks and tests.\n",
        version_flags=[VERSION],
        version=_version,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # told by ``main``
        default_parameter=Parameter(negative_iterable=()),  # what is left out is empty already
    )
    groups = {"": app}
    for words, text in GROUPS.items():
        above, _, name = words.rpartition(" ")
        group = groups[words] = App(name=name, help=text, help_format="plaintext")
        groups[above].command(group)
    for words, function in {**list_derived(), **COMMANDS}.items():
        above, _, name = words.rpartition(" ")
        groups[above].command(f"lab.cli.{function}", name=name)
    return app


def _version() -> str:
    from lab.state.checkout import keystead_version

    return f"keystead {keystead_version()}"
