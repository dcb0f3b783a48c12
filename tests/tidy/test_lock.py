"""The locks pin what the project asks for, by hash, and name no index.

``requirements.lock`` is what runs and what builds it; ``requirements-dev.lock`` has the rest of
what ``uv pip compile --universal --generate-hashes --extra setup --extra tpm --extra dev`` gives.
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

import pytest

from tests.tidy.tree import ROOT

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^ ;]+)(?: ; (.*?))? \\$")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(text: str) -> tuple[dict[str, str], list[str]]:
    """Pinned versions by name, and the lines that are neither a pin nor a hash of one."""
    pins: dict[str, str] = {}
    strange: list[str] = []
    hashes = 1
    for line in text.splitlines():
        pin = _PIN.match(line)
        if pin and hashes:
            pins[_normal(pin[1])], hashes = pin[2], 0
        elif _HASH.match(line):
            hashes += 1
        else:
            strange.append(line)
    return pins, strange


def _pins(*locks: str) -> dict[str, str]:
    """Pinned versions by name of all these files, none of which has a strange line."""
    pins: dict[str, str] = {}
    for lock in locks:
        found, strange = read_lock((ROOT / lock).read_text("utf-8"))
        assert not strange
        assert not pins.keys() & found.keys(), "pinned twice"
        pins |= found
    return pins


def _requirements(*extras: str) -> set[str]:
    """Names of the packages that the project, or these extras of it, ask for."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    optional = project["optional-dependencies"]
    asked = [line for extra in extras for line in optional[extra]] or project["dependencies"]
    return {_normal(re.split(r"[\[<>=!~ ]", line)[0]) for line in asked}


def test_the_runtime_lock_has_what_runs_and_builds_and_no_tool_of_tests() -> None:
    pins = _pins("requirements.lock")
    wanted = _requirements() | _requirements("setup", "tpm")
    assert wanted <= pins.keys()
    assert not (_requirements("dev") - wanted) & pins.keys()


def test_the_lock_of_the_mutants_differs_from_ours_in_nothing_that_both_pin() -> None:
    ours = _pins("requirements.lock", "requirements-dev.lock")
    theirs, strange = read_lock((ROOT / "requirements-mutants.lock").read_text("utf-8"))
    assert not strange and "mutmut" in theirs
    assert {
        name: theirs[name] for name in theirs if ours.get(name, theirs[name]) != theirs[name]
    } == {}


@pytest.mark.parametrize(
    "text",
    [
        "rich==15.0.0\n",
        "rich>=15 \\\n    --hash=sha256:" + "0" * 64 + "\n",
        "--index-url https://index.example/simple\n",
        "rich==15.0.0 \\\n    --hash=md5:" + "0" * 32 + "\n",
        "rich==15.0.0 \\\nyaml==6.0.0 \\\n    --hash=sha256:" + "0" * 64 + "\n",
    ],
)
def test_a_lock_that_pins_nothing_is_found(text: str) -> None:
    assert read_lock(text)[1]


def test_both_locks_have_what_the_tests_ask_for() -> None:
    assert _requirements("dev") <= _pins("requirements.lock", "requirements-dev.lock").keys()


def test_what_runs_here_is_what_is_pinned() -> None:
    pins = _pins("requirements.lock", "requirements-dev.lock")
    here = {_normal(str(d.name)): d.version for d in metadata.distributions()}
    assert not {
        name: (version, here[name])
        for name, version in pins.items()
        if name in here and here[name] != version
    }
