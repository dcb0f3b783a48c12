"""From an experiment's name and a Lab file to a plan with every target and time resolved."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec

from chaos.experiment.lint import read_experiment
from chaos.experiment.model import Experiment
from chaos.experiment.plan import Plan, plan
from lab.core import directory_of
from lab.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import Topology
from lab.topology.plan import plan as plan_topology

EXPERIMENTS = Path(__file__).resolve().parents[2] / "chaos" / "experiments"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs: the plan, the lab it is made for, and the file's text."""

    plan: Plan
    topology: Topology
    text: str


def shipped() -> list[Path]:
    """The experiments that come with keystead."""
    return sorted(EXPERIMENTS.glob("*.yaml"))


def find(name: str) -> Path:
    """The file of a shipped experiment, or a path; KS-USE-002 with what there is."""
    for path in (EXPERIMENTS / f"{name}.yaml", Path(name)):
        if path.is_file():
            return path
    known = ", ".join(p.stem for p in shipped())
    raise KeysteadError("KS-USE-002", f"there is no experiment {name}; shipped ones: {known}")


def topology_of(experiment: Experiment, changes: dict[str, Any]) -> Topology:
    """The lab that the experiment asks for, with changes from the command line."""
    wanted = experiment.topology or {"use": "default"}
    if "use" in wanted:
        return plan_topology(load(wanted["use"], **{**wanted.get("with", {}), **changes}))
    return plan_topology(load(wanted, **changes))


def seed_of(experiment: Experiment, seed: int | None) -> int:
    """The seed given, else the file's; ``random`` in the file draws one."""
    wanted = experiment.heading.seed if seed is None else seed
    return secrets.randbelow(1 << 31) if isinstance(wanted, str) else wanted


def prepare(name: str, seed: int | None, changes: dict[str, Any]) -> Prepared:
    """Read, check and resolve; raises ``ChaosError`` with all errors of the file."""
    experiment = read_experiment(find(name))
    topology = topology_of(experiment, changes)
    made = plan(experiment, directory_of(topology), seed_of(experiment, seed))
    return Prepared(plan=made, topology=topology, text=experiment.text)
