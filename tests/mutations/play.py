"""What runs inside a worker process: named tests or an experiment, with a bug planted or not.

Each call is made in a worker of its own (``run_in_worker``), so that nothing planted reaches the
process that judges, and the code under test is the one that the whole suite tests.
"""

from __future__ import annotations

import atexit
import functools
import gc
import os
from typing import Any

import msgspec

from chaos.verdict import Verdict
from lab.play.play import simulate_plan
from lab.play.prepare import prepare
from lab.schema.commands import Command, Heal, HostPowerLoss, LinkCut
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.state.checkout import BUGS, apply_patch
from lab.topology.lab_file import load
from lab.topology.plan import plan
from services.runtime.forking.blocking import ForkServer
from tests.mutations.bugs.planting import planted

PRELOAD = (
    "pytest",
    "pytest_asyncio.plugin",
    "pytest_timeout",
    "tests.mutations.play",
    "tests.services.esxi.rig",
    "tests.services.vcenter.rig",
)


# Two plugins that these tests need, imported once in the server and so not rewritten.
_PLUGINS = ("-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
_OPTIONS = (*_PLUGINS, "-W", "ignore::pytest.PytestAssertRewriteWarning", "-q")


class Outcome(msgspec.Struct, frozen=True):
    """One test as it ended: ``passed`` or ``failed``, where, and what it said."""

    test: str
    passed: bool
    when: str
    told: str


def server(hash_seed: str = "0") -> ForkServer:
    """A fork server with the rigs of the suites imported; close it after use."""
    env = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONHASHSEED": hash_seed}
    return ForkServer(PRELOAD, env=env)


@functools.cache
def shared_server() -> ForkServer:
    """The one of this process, until it ends: tests that use it are not bound to one worker."""
    made = server()
    atexit.register(made.close)
    return made


def plant(mutation: str) -> None:
    """Break the code of this process; nothing for an empty name."""
    apply_patch(f"{BUGS}:{mutation}" if mutation else "")


def plant_all(mutations: tuple[str, ...]) -> dict[str, list[str]]:
    """Plant them one after another in this process: what each replaced, or what it missed."""
    told = {}
    for mutation in mutations:
        before = len(planted)
        try:
            plant(mutation)
        except (AttributeError, ImportError) as error:
            told[mutation] = [f"hits nothing: {error}"]
        else:
            told[mutation] = planted[before:]
    return told


class _Listener:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.collected: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.failed:
            told = str(report.longrepr or "")
            self.outcomes.append(Outcome(report.nodeid, report.passed, report.when, told))

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.outcomes.append(Outcome(report.nodeid, False, "collect", str(report.longrepr)))

    def pytest_collection_finish(self, session: Any) -> None:
        self.collected = [item.nodeid for item in session.items]


def run_tests(mutation: str, tests: tuple[str, ...]) -> list[Outcome]:
    """Run these tests of the suite (node ids) in this process, with the bug planted."""
    plant(mutation)
    return _pytest(*tests).outcomes


def collected(tests: tuple[str, ...]) -> list[str]:
    """The node ids of these tests, with all their parameters."""
    return _pytest("--collect-only", *tests).collected


def _pytest(*arguments: str) -> _Listener:
    """Run pytest in this process, which is a worker's, without a word."""
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    listener = _Listener()
    pytest.main([*_OPTIONS, *arguments], plugins=[listener])
    return listener


def run_experiment(
    mutation: str, name: str, seed: int | None, changes: dict[str, Any], *, late: bool = False
) -> Verdict:
    """Play a shipped experiment in virtual time, with the bug planted; ``changes`` of the lab.
    ``late``: the bug comes when the lab is ready, so that only the run itself has it."""
    if not late:
        plant(mutation)
    prepared = prepare(name, seed, {"tpm": "model", **changes})
    lab, _ = make(prepared.topology, prepared.plan.seed)
    plant(mutation if late else "")
    verdict, _ = simulate_plan(lab, prepared.plan, "mutation")
    return verdict


def run_late(mutation: str, name: str, seed: int, changes: dict[str, Any]) -> Verdict:
    return run_experiment(mutation, name, seed, changes, late=True)


def run_life(mutation: str, seed: int, collect: int = 0) -> str:
    """The trace hash of some minutes with a cut, a boot and a heal, with the bug planted.

    ``collect``: the garbage collector runs at every so many allocations outside of the loop; 0
    as Python does it, -1 never.
    """
    plant(mutation)
    if collect < 0:
        gc.disable()
    elif collect:
        gc.enable()
        gc.set_threshold(collect, 1, 1)
    lab, session = make(plan(load("default", hosts=2, vms=6, tpm="model")), seed)

    def do(command: Command[object]) -> None:
        lab.run(perform(session, command))

    do(LinkCut("vcenter", "kms"))
    do(HostPowerLoss(("esxi-001",)))
    lab.run(lab.sleep(200))
    do(Heal(all=True))
    lab.run(lab.sleep(100))
    return lab.loop.trace.hash()
