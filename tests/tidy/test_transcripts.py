"""Every command is played in a transcript: its examples, its options, its documents, a refusal."""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import NamedTuple

from tests.transcripts.commands import EVERYWHERE, Command, command_of, commands, given
from tests.transcripts.script import ERR, EXIT, transcripts
from tests.transcripts.shortened import usual_code

ADD = "add them to a file in tests/transcripts/played and have it written anew, as script.py says"

OF_LISTS = frozenset({"--watch", "--sort-by", "--no-headers"})
"""Options of every list: each is played, and not with every list."""


NOT_HERE = frozenset(
    f"{group} {name}".strip()
    for group, names in {
        "": "api bench completion doctor down env exec explain healthcheck list logs schema serve "
        "sleep try up version watch",
        "agent": "join",
        "explain": "knob rules fault action entry probe op check selector guard",
        "kmip": "trust-flows",
        "lab": "new lint bundle access attach detach broker-config",
        "load": "calibrate kmip predict rate validate",
    }.items()
    for name in names.split()
)
"""Commands with tests of their own: what they say is of this machine or of several, or a text that
stands in the code."""
IN_PART = frozenset(
    f"{group} {name}".strip()
    for group, names in {
        "": "conformance matrix",
        "chaos": "fuzz run shrink stop sweep tap",
        "kmip": "cases cut-trail replay serve set-root verify-trail",
        "load": "compare run",
        "matrix": "explain",
    }.items()
    for name in names.split()
)
"""Their examples last, or need what is not there: smaller ones are played, without every option."""
NEVER_REFUSED = frozenset({"describe provider", "get runs", "key ids"})
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
            elif code := usual_code(row.removeprefix(ERR)):
                found[-1] = found[-1]._replace(code=code)
            elif row.startswith(EXIT):
                found[-1] = found[-1]._replace(code=int(row.removeprefix(EXIT)))
    return tuple(found)


@cache
def by_command() -> dict[str, list[Played]]:
    found: dict[str, list[Played]] = {command.name: [] for command in commands().values()}
    for one in played():
        if (command := command_of(one.line)) is not None:
            found[command.name].append(one)
    return found


@cache
def whole() -> tuple[Command, ...]:
    """The commands of which each example and each option is played."""
    excused = NOT_HERE | IN_PART
    return tuple(command for command in commands().values() if command.name not in excused)


def test_every_example_of_a_help_is_played() -> None:
    lines = {one.line for one in played()}
    examples = [example for command in whole() for example in command.examples]
    assert [example for example in examples if example not in lines] == [], ADD


def test_every_command_is_done_and_is_refused() -> None:
    codes = {name: {one.code != 0 for one in lines} for name, lines in by_command().items()}
    not_done = {command.name for command in whole() if False not in codes[command.name]}
    not_refused = {command.name for command in whole() if True not in codes[command.name]}
    assert (not_done - NEVER_DONE, not_refused - NEVER_REFUSED) == (set(), set()), ADD


def test_every_option_of_every_command_is_given() -> None:
    missing = {
        f"{command.name} {option}"
        for command in whole()
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
    print_one = {command.name for command in whole() if command.prints_documents}
    assert print_one - with_one - {"report"} == set(), ADD  # its ``-o`` is a file


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
    names = {command.name for command in commands().values()}
    assert (NOT_HERE | IN_PART | NEVER_REFUSED | NEVER_DONE) - names == set()
