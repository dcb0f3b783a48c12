"""From an experiment's name and a Lab file to a plan with every target and time resolved, and the
folder of a run that is about to start.
"""

from __future__ import annotations

import difflib
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chaos.experiment.document import Document, Problem
from chaos.experiment.lint import BadExperiment, read_experiment
from chaos.experiment.model import SEEDS, Experiment
from chaos.experiment.plan import Plan, dump_plan
from chaos.experiment.resolve import plan
from chaos.playing.requirements import TPMS
from chaos.verdict import hosts_by_tpm
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from lab.schema.errors import KeysteadError
from lab.state.checkout import bug_patch
from lab.topology.lab_file import as_played, faults_of, load
from lab.topology.plan import Topology, directory_of
from lab.topology.plan import plan as plan_topology
from protocol.messages.agent import TpmBackend
from protocol.printable import quote_if_needed
from protocol.terms import Role

LAB, UNMET = "KS-CHAOS-016", "KS-CHAOS-015"
EXPERIMENTS = Path(__file__).resolve().parents[2] / "chaos" / "experiments"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What a run needs: the plan, the lab it is made for, and the file's text; ``options`` are the
    words of the command line that make the same of this text, but for mode and seed."""

    plan: Plan
    topology: Topology
    text: str
    options: tuple[str, ...] = ()


def list_shipped() -> list[Path]:
    """The experiments that come with keystead."""
    return sorted(EXPERIMENTS.glob("*.yaml"))


def find(name: str) -> Path:
    """The file of a shipped experiment, or a path; KS-USE-002 with what there is.

    The first words of a shipped name will do when no other begins so, as SC-49.
    """
    for path in (EXPERIMENTS / f"{name}.yaml", Path(name)):
        try:
            if path.is_file():
                return path
        except OSError:  # a name too long, a folder that may not be entered
            continue
    begun = [path for path in list_shipped() if path.stem.startswith(f"{str(name).lower()}-")]
    if len(begun) == 1:
        return begun[0]
    near = difflib.get_close_matches(
        str(name)[:80], [p.stem for p in list_shipped()], n=2, cutoff=0.5
    )
    text = f"there is no experiment {quote_if_needed(name)}"
    if near:
        text += f"; did you mean {' or '.join(near)}?"
    raise KeysteadError("KS-USE-002", text, "`keystead chaos list` shows those that are shipped")


def topology_of(experiment: Experiment, changes: dict[str, Any], mode: str = "lab") -> Topology:
    """The lab that the experiment asks for, with changes from the command line; its TPMs are
    played as ``mode`` does unless the changes say how."""
    wanted = experiment.topology or {"use": "default"}
    if "use" in wanted:
        file = load(wanted["use"], **{**wanted.get("with", {}), **changes})
    else:
        file = load(wanted, **changes)
    return plan_topology(file if changes.get("tpm") else as_played(file, mode))


def seed_of(experiment: Experiment, seed: int | None) -> int:
    """The seed given, else the file's; ``random`` in the file draws one.

    KS-USE-003 when the one given is no seed.
    """
    if seed is not None and not 0 <= seed < SEEDS:
        raise KeysteadError("KS-USE-003", f"--seed {seed}: a whole number from 0 to 2^63 - 1")
    wanted = experiment.heading.seed if seed is None else seed
    return secrets.randbelow(1 << 31) if isinstance(wanted, str) else wanted


def prepare(
    name: str,
    seed: int | None,
    changes: dict[str, Any],
    given: Mapping[str, Any] | None = None,
    mode: str = "lab",
) -> Prepared:
    """Read, check and resolve; raises ``BadExperiment`` with all errors of the file. ``given`` are
    values of its parameters; ``changes`` and ``mode`` as of ``topology_of``."""
    experiment = _whole(find(name), given)
    topology = topology_of(experiment, changes, mode)
    made = plan(experiment, directory_of(topology), seed_of(experiment, seed))
    return Prepared(plan=made, topology=topology, text=experiment.text)


def problems(path: Path) -> tuple[Problem, ...]:
    """Everything for which the experiment at ``path`` would not be run, in one pass."""
    try:
        experiment = _whole(path)
        topology = topology_of(experiment, {})
        plan(experiment, directory_of(topology), seed_of(experiment, None))
        _check_requirements(experiment, topology)
        if experiment.document.problems:
            raise BadExperiment(experiment.document.problems, experiment.document)
    except BadExperiment as error:
        return error.problems
    return ()


def _whole(path: Path, given: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment with a lab that is one; ``BadExperiment`` with every error of either."""
    try:
        experiment = read_experiment(path, given)
    except BadExperiment as error:
        _check_topology(error.document)
        raise BadExperiment(error.document.problems, error.document) from None
    _check_topology(experiment.document)
    if experiment.control is not None:
        try:
            bug_patch(experiment.control.bug)
        except KeysteadError as error:
            experiment.document.add(("negative_control",), error.id, str(error))
    if experiment.document.problems:
        raise BadExperiment(experiment.document.problems, experiment.document)
    return experiment


def _check_topology(document: Document) -> None:
    """Note what is wrong with the lab that the file asks for; its shape is the linter's."""
    wanted = document.data.get("topology") if isinstance(document.data, dict) else None
    if not isinstance(wanted, dict):
        return
    if "use" not in wanted:
        for wrong in faults_of(wanted):
            document.add(("topology", *wrong.path), LAB, str(wrong))
        return
    changes = wanted.get("with", {})
    if not isinstance(wanted["use"], str) or not isinstance(changes, dict):
        return
    try:
        load(wanted["use"])
    except KeysteadError as error:
        document.add(("topology", "use"), LAB, str(error))
        return
    try:
        load(wanted["use"], **{str(name): value for name, value in changes.items()})
    except KeysteadError as error:
        document.add(("topology", "with"), LAB, str(error))


def _check_requirements(experiment: Experiment, topology: Topology) -> None:
    """Note what ``requires`` asks for and the file's own lab is not."""
    needs, document = experiment.requires, experiment.document
    hosts = [spec for spec in topology.nodes if spec.role is Role.ESXI]
    if needs.hosts is not None and len(hosts) < needs.hosts:
        text = f"{needs.hosts} hosts are required, topology has {len(hosts)}"
        document.add(("requires", "hosts"), UNMET, text)
    if needs.tpm is not None and any(spec.tpm not in TPMS[needs.tpm] for spec in hosts):
        text = f"tpm: {needs.tpm} is required, a host of topology has another"
        document.add(("requires", "tpm"), UNMET, text)
    with_it = set(topology.key_persistence)
    if needs.persistence is not None and any(
        (spec.node in with_it) != needs.persistence for spec in hosts
    ):
        word = "on" if needs.persistence else "off"
        text = f"persistence: {word} is required, a host of topology differs"
        document.add(("requires", "persistence"), UNMET, text)
    if needs.provider is not None and needs.provider not in {p.type for p in topology.providers}:
        text = f"a {needs.provider} key provider is required, topology has none"
        document.add(("requires", "provider"), UNMET, text)


def begin(
    prepared: Prepared,
    mode: str,
    *,
    replay_of: str = "",
    fork_of: str = "",
    fork_at: float = 0.0,
    scan: bool = False,
    bug: str = "",
) -> RunFolder:
    """The run's folder with everything that is known before it starts; ``scan``: it is to end
    with a search for every key, and ``bug`` is planted into it. ``fork_of``, ``fork_at``: see
    ``RunRecord``. KS-LAB-005 when there is no room for it; nothing is left of it then."""
    made = prepared.plan
    folder = new_run(made.name, mode, made.seed)
    tpms = {s.node: s.tpm for s in prepared.topology.nodes if s.role is Role.ESXI}
    record = RunRecord(
        run=folder.run,
        experiment=made.name,
        mode=mode,
        seed=made.seed,
        code=code_version(),
        python=python_version(),
        lock=lock_version(),
        began=time.time(),
        tpm=", ".join(sorted(set(tpms.values()))) or TpmBackend.NONE,
        tpm_hosts=hosts_by_tpm(tpms),
        replay_of=replay_of,
        fork_of=fork_of,
        fork_at=fork_at,
        bug=bug,
        scan=scan,
        options=prepared.options,
    )
    try:
        folder.write("run.json", msgspec.json.format(msgspec.json.encode(record)))
        folder.write("plan.json", dump_plan(made))
        folder.write("topology.msgpack", msgspec.msgpack.encode(prepared.topology))
        folder.write("experiment.yaml", prepared.text.encode())
    except KeysteadError:
        folder.remove()  # a run that could not begin is none
        raise
    return folder
