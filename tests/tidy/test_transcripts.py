"""Every command is played in a transcript: its examples, its options, its documents, a refusal."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import NamedTuple

from tests.transcripts.commands import EVERYWHERE, Command, command_of, commands, given
from tests.transcripts.script import EXIT, transcripts

ADD = "add them to a file in tests/transcripts/played and have it written anew, as script.py says"

OF_LISTS = frozenset({"--watch", "--sort-by", "--no-headers"})
"""Options of every list: each is played, and not with every list."""


NOT_HERE = frozenset(
    f"{group} {name}".strip()
    for group, names in {
        "": "up down list version logs healthcheck doctor bench schema completion matrix runs "
        "check report conformance explain",
        "agent": "join",
        "chaos": "list lint new plan run stop replay tap fuzz shrink sweep",
        "describe": "run",
        "explain": "knob rules fault action entry probe op check selector guard",
        "get": "runs",
        "kmip": "serve set-root cut-trail verify-trail cases replay trust-flows",
        "lab": "bundle access attach detach broker-config",
        "load": "run kmip rate compare",
        "matrix": "explain",
    }.items()
    for name in names.split()
)
"""Commands that no simulated lab answers: tests of their own play them."""
NEVER_REFUSED = frozenset({"describe provider", "key ids"})
"""They have no argument that could be wrong, or tell in what they print that it is."""
NEVER_DONE = frozenset({"host remove-keys", "trust enable"})


class Played(NamedTuple):
    """A line of a transcript, and the exit code it is to have."""

    line: str
    code: int


@cache
def played() -> tuple[Played, ...]:
    found: list[Played] = []
    for path in transcripts().values():
        for row in path.read_text().splitlines():
            if row.startswith("$ keystead "):
                found.append(Played(row.removeprefix("$ "), 0))
            elif row.startswith(EXIT):
                found[-1] = found[-1]._replace(code=int(row.removeprefix(EXIT)))
    return tuple(found)


@cache
def by_command() -> dict[str, list[Played]]:
    found: dict[str, list[Played]] = {name: [] for name in (command.name for command in ALL)}
    for one in played():
        if (command := command_of(one.line)) is not None:
            found[command.name].append(one)
    return found


ALL = tuple(commands().values())
HERE = tuple(command for command in ALL if command.name not in NOT_HERE)


def test_every_example_of_a_help_is_played() -> None:
    lines = {one.line for one in played()}
    examples = [example for command in HERE for example in command.examples]
    assert [example for example in examples if example not in lines] == [], ADD


def test_every_command_is_done_and_is_refused() -> None:
    codes = {name: {one.code != 0 for one in lines} for name, lines in by_command().items()}
    not_done = {command.name for command in HERE if False not in codes[command.name]}
    not_refused = {command.name for command in HERE if True not in codes[command.name]}
    assert (not_done - NEVER_DONE, not_refused - NEVER_REFUSED) == (set(), set()), ADD


def test_every_option_of_every_command_is_given() -> None:
    missing = {
        f"{command.name} {option}"
        for command in HERE
        for option in {*command.options.values()} - _given_to(command) - EVERYWHERE - OF_LISTS
    }
    assert missing == set(), ADD


def _given_to(command: Command) -> frozenset[str]:
    return frozenset[str]().union(*(given(one.line) for one in by_command()[command.name]))


def test_the_document_of_every_command_is_compared() -> None:
    documents = re.compile(r" -o (json|yaml)\b")
    with_one = {
        name
        for name, lines in by_command().items()
        if any(documents.search(one.line) for one in lines)
    }
    print_one = {command.name for command in HERE if command.prints_documents}
    assert print_one - with_one == set(), ADD


def test_options_that_many_commands_have_are_given_somewhere() -> None:
    said = {token for one in played() for token in shlex.split(one.line)}
    spelled = {"--name": "-n", "--output": "-o", "--quiet": "-q", "--watch": "-w"}
    missing = {
        option
        for option in (EVERYWHERE | OF_LISTS) - {"--help"}
        if not {option, spelled.get(option, option)} & said
    }
    assert missing == set()


def test_what_is_excused_is_there() -> None:
    names = {command.name for command in ALL}
    assert (NOT_HERE | NEVER_REFUSED | NEVER_DONE) - names == set()
