"""Every command line of the documents runs, in order, and prints what the document shows.

A ``console`` block has lines ``$ keystead ...`` and what they print. ``...`` stands for any
lines; ids, times and ports may differ, traces may not. What takes time is waited for by a
command that the document shows.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.cli.main import run
from services.runtime.tpm.backends import missing_for_libtpms

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "docs/fuzzing.md",
    "docs/glossary.md",
    "docs/load.md",
    "docs/rules.md",
    "docs/tour.md",
    "docs/report.md",
    "docs/story.md",
    "docs/testing.md",
)
STORIES = (
    ("README.md", "As an experiment"),
    ("docs/story.md", "An outage by hand"),
    ("docs/story.md", "The same as an experiment"),
    ("docs/story.md", "What survives which fault"),
)
NOT_RUN = {
    # The environment that the tests run in is built by it; tests do not start themselves either.
    "./keystead up",
    "./keystead bench",
    "./keystead bench scale",
}
VOLATILE = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b[0-9a-f]{8}…"), "ID…"),
    (re.compile(r"after \d+\.\d s"), "after N s"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r" +"), " "),
)


class Command(NamedTuple):
    """One command line of a document and the output it shows."""

    line: int
    words: list[str]
    output: list[str]


def commands(text: str) -> Iterator[Command]:
    """The commands of all ``console`` blocks, in order."""
    inside = False
    current: Command | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if line == "```console":
            inside = True
        elif line == "```" and inside:
            if current is not None:
                yield current
            inside, current = False, None
        elif inside and line.startswith("$ "):
            if current is not None:
                yield current
            current = Command(number, shlex.split(line[2:]), [])
        elif inside and current is not None:
            current.output.append(line)


def plain(text: str) -> str:
    for pattern, word in VOLATILE:
        text = pattern.sub(word, text)
    return text.strip()


def same(wanted: list[str], seen: list[str]) -> bool:
    """Whether ``seen`` is what the document shows; ``...`` matches any lines."""
    if not wanted:
        return not seen
    if wanted[0] == "...":
        return any(same(wanted[1:], seen[start:]) for start in range(len(seen) + 1))
    return bool(seen) and plain(wanted[0]) == plain(seen[0]) and same(wanted[1:], seen[1:])


class Shell:
    """Runs ``keystead`` with a state folder of its own, in ``folder`` (None: there too)."""

    def __init__(self, home: Path, folder: Path | None = None) -> None:
        self._folder = folder or home
        self._environment = {
            **os.environ,
            "KEYSTEAD_STATE_HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }

    def run(self, words: list[str]) -> tuple[int, list[str], str]:
        """Exit code, lines on stdout, stderr."""
        assert words[0] in ("keystead", "./keystead")
        done = subprocess.run(
            [sys.executable, "-m", "lab.cli.main", *words[1:]],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.run(["keystead", "down", "--purge"])


def chapters(document: str) -> dict[str, str]:
    """A document's text by its headings, each a story of its own."""
    text = (ROOT / document).read_text(encoding="utf-8")
    found = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_the_first_pages_show_a_story_and_an_experiment() -> None:
    shown = [
        (document, name, sum(1 for _ in commands(text)))
        for document in ("README.md", "docs/story.md")
        for name, text in chapters(document).items()
    ]
    assert {(document, name) for document, name, count in shown if count} == set(STORIES)
    assert sum(count for _, _, count in shown) > 15


@pytest.mark.slow
@pytest.mark.lab
@pytest.mark.timeout(300)
@pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}")
@pytest.mark.parametrize(("document", "chapter"), STORIES)
def test_the_first_pages_tell_the_truth(shell: Shell, document: str, chapter: str) -> None:
    for command in commands(chapters(document)[chapter]):
        code, seen, errors = shell.run(command.words)
        assert code == 0 and same(command.output, seen), (
            f"{document}, {chapter}, line {command.line}: {shlex.join(command.words)}: "
            f"exit {code}\n" + "\n".join(seen) + errors
        )


@pytest.mark.slow
@pytest.mark.sim
def test_the_page_of_reports_tells_the_truth(shell: Shell, tmp_path: Path) -> None:
    for command in commands((ROOT / "docs/report.md").read_text(encoding="utf-8")):
        code, seen, errors = shell.run(command.words)
        assert code == 0 and same(command.output, seen), (
            f"docs/report.md, line {command.line}: exit {code}\n" + "\n".join(seen) + errors
        )
    assert {path.suffix for path in tmp_path.iterdir()} >= {".html", ".xml"}


@pytest.mark.slow
@pytest.mark.sim
def test_the_page_of_loads_tells_the_truth_of_labs_in_virtual_time(shell: Shell) -> None:
    """A load on a key server needs one that serves; ``tests/lab/load`` plays those."""
    played = [
        command
        for command in commands((ROOT / "docs/load.md").read_text(encoding="utf-8"))
        if command.words[1:3] == ["load", "run"]
    ]
    assert played
    for command in played:
        code, seen, errors = shell.run(command.words)
        assert code == 0 and same(command.output, seen), "\n".join(seen) + errors


@pytest.mark.parametrize("document", DOCUMENTS)
def test_shell_blocks_name_commands_that_exist(
    document: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines of ``sh`` blocks and inline commands: their help can be asked for."""
    text = (ROOT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    lines += [m for m in re.findall(r"`((?:\./)?keystead [^`]+)`", text) if "setup" not in m]
    for line in filter(None, lines):
        if line in NOT_RUN or line.startswith("./keystead test"):
            continue
        words = [w for w in shlex.split(line) if not w.startswith(("-", "KEYSTEAD_"))]
        assert words[0] in ("keystead", "./keystead")
        assert run([*words[1:], "--help"]) == 0, f"{document}: {line}: {capsys.readouterr().err}"


@pytest.mark.slow
async def test_the_python_of_a_checkout_runs() -> None:
    text = chapters("docs/testing.md")["In a checkout"]
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    await eval(compile(code, "docs/testing.md", "exec", flags=flags), {})  # noqa: S307 - our own page


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert ((ROOT / document).parent / target).exists(), f"{document}: {target}"


def test_the_comparison_can_fail() -> None:
    """A document that shows something else is noticed."""
    assert same(["a", "...", "z"], ["a", "b", "z"])
    assert same(["kms-provider/ae32e990…  -"], ["kms-provider/00000000… -"])
    assert not same(["a", "b"], ["a"])
    assert not same(["a"], ["a", "b"])
    assert not same(["vm-01 locked"], ["vm-01 unlocked"])
    assert not same(["seed 7  trace ead2e3fd3795b054"], ["seed 7  trace 408fecdb38bbb9ba"])
