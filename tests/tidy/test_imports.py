"""What is imported is this tree, and a process imports no more than its work needs."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.tidy.circles import circles, imported
from tests.tidy.tree import PACKAGES, ROOT, package_sources

_PEOPLE = ("rich", "cyclopts", "textual", "starlette", "pydantic", "yaml", "markdown_it")
BUDGET = {
    # An agent is paid for per process, by memory; the command line per call, by time.
    "services.runtime.forking.server": (*_PEOPLE, "asyncio", "nats", "chaos", "lab"),
    "lab.processes.agent": (
        *_PEOPLE,
        "chaos.faults",
        "chaos.playing.engine",
        "lab.cli",
        "lab.supervise.supervisor",
        "lab.topology.lab_file",
        "psutil",
    ),
    "services.catalog": (*_PEOPLE, "chaos", "lab", "nats", "tpm2_pytss"),
    # Asked in every container every few seconds.
    "lab.machines.checkup": (*_PEOPLE, "asyncio", "msgspec", "nats", "ssl", "services"),
    # Thirty containers begin with it on two cores.
    "lab.members.joining": (*_PEOPLE, "chaos.faults", "lab.topology.lab_file"),
    # Programs that only speak to a lab build on these.
    "lab.schema.commands": (*_PEOPLE, "asyncio", "nats", "services", "tpm2_pytss"),
    "lab.schema.answers": (*_PEOPLE, "asyncio", "nats", "services", "tpm2_pytss"),
    # Alone in a container, a host's process has its own service only.
    "services.esxi.service": (*_PEOPLE, "chaos", "lab", "nats", "services.kms.service"),
    "protocol": (*_PEOPLE, "asyncio", "nats", "services", "chaos", "lab"),
    "lab.cli.main": (*_PEOPLE, "asyncio", "nats", "services", "chaos", "protocol", "psutil"),
}


def imported_by(statement: str) -> list[str]:
    """The modules that a fresh interpreter has after ``statement``."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(run.stdout)
    assert isinstance(found, list)
    return found


def over_budget(modules: list[str], banned: tuple[str, ...]) -> list[str]:
    """Modules that are, or are inside, what is banned."""
    return [m for m in modules if any(m == name or m.startswith(f"{name}.") for name in banned)]


@pytest.mark.slow
@pytest.mark.parametrize("module", BUDGET)
def test_a_process_imports_what_it_needs(module: str) -> None:
    modules = imported_by(f"import {module}")
    assert module in modules
    assert over_budget(modules, BUDGET[module]) == []


def test_an_import_over_the_budget_is_found() -> None:
    modules = imported_by("import lab.topology.lab_file")
    assert over_budget(modules, BUDGET["lab.processes.agent"])


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_come_from_this_tree(package: str) -> None:
    """An installed copy would be tested instead of the checkout."""
    module = importlib.import_module(package)
    assert [Path(path) for path in module.__path__] == [ROOT / package]


def test_every_loaded_module_of_ours_comes_from_this_tree() -> None:
    strays = [
        f"{name}: {module.__file__}"
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in PACKAGES
        and getattr(module, "__file__", None)
        and not Path(str(module.__file__)).is_relative_to(ROOT)
    ]
    assert not strays


def test_a_fresh_interpreter_finds_this_tree_from_elsewhere(tmp_path: Path) -> None:
    """As the console script does: what is installed is this checkout, or nothing."""
    code = "import importlib.util as u; s = u.find_spec('lab'); print(s.origin if s else '')"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() in ("", str(ROOT / "lab" / "__init__.py"))


def test_what_is_built_holds_every_package() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    targets = project["tool"]["hatch"]["build"]["targets"]
    places = {place: f"keystead/_rooms/{place}" for place in (*PACKAGES, "docs")}
    assert targets["wheel"]["sources"] == {"clients/python": "", **places}
    assert set(targets["wheel"]["only-include"]) == {
        "clients/python/keystead",
        *PACKAGES,
        "docs/rules.md",
        "docs/glossary.md",
    }
    assert "/tests/mutations" in targets["sdist"]["exclude"], "planted bugs ship with nobody"
    assert project["project"]["scripts"] == {"keystead": "keystead._launcher:main"}
    assert {s.path.split("/")[0] for s in package_sources()} == set(PACKAGES)


def test_a_package_is_imported_with_what_it_defines_and_not_with_its_modules() -> None:
    known = ["p", "p.low", "p.high"]
    for line, names in (
        ("from p import low", {"p.low"}),
        ("from p import low, NAME", {"p.low", "p"}),
        ("from p.high import NAME", {"p.high"}),
        ("def f():\n    import p.low, os", {"p.low"}),
    ):
        assert imported(ast.parse(line), known) == names


def test_a_circle_is_found_and_a_diamond_is_none() -> None:
    diamond = {"top": {"left", "right"}, "left": {"low"}, "right": {"low"}, "low": set[str]()}
    assert circles(diamond) == []
    ring = {"a": {"b"}, "b": {"c"}, "c": {"a", "low"}, "low": set[str](), "top": {"a"}}
    assert circles(ring) == ["a -> b", "b -> c", "c -> a"]
