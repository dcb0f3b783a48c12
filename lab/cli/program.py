"""The program that parses a command line: cyclopts, with the commands of ``grammar``."""

from __future__ import annotations

from itertools import takewhile

from cyclopts import App

from lab.cli.grammar import COMMANDS, GROUPS

VERSION = "--version"


def ready_for(arguments: list[str]) -> App:
    """The program for this command line.

    A line that ends with a group is answered by a list of its commands, in a help or in an error:
    these are imported then, for what they say of themselves.
    """
    app = build()
    words = list(takewhile(lambda word: not word.startswith("-"), arguments))
    _, groups, _ = app.parse_commands(words)
    if VERSION not in arguments:
        groups[-1].resolved_commands()
    return app


def build() -> App:
    """The whole program with every command; none is imported before it is wanted."""
    app = App(
        name="keystead",
        help="A laboratory for vSphere key persistence: what survives which fault, "
        "on running parts.\n\n"
        "    keystead up\n    keystead get vms\n",
        version_flags=[VERSION],
        version=_version,
        help_format="plaintext",
        suppress_keyboard_interrupt=False,  # told by ``main``
    )
    groups = {"": app}
    for words, text in GROUPS.items():
        above, _, name = words.rpartition(" ")
        group = groups[words] = App(name=name, help=text, help_format="plaintext")
        groups[above].command(group)
    for words, function in COMMANDS.items():
        above, _, name = words.rpartition(" ")
        groups[above].command(f"lab.cli.{function}", name=name)
    return app


def _version() -> str:
    from importlib.metadata import version

    return f"keystead {version('keystead')}"
