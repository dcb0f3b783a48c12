"""The folder of a run that is about to start."""

from __future__ import annotations

import time

import msgspec

from chaos.experiment.plan import dump_plan
from chaos.verdict import hosts_by_tpm
from lab.play.prepare import Prepared
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from protocol.messages.agent import TpmBackend
from protocol.terms import Role


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
    ``RunRecord``."""
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
    folder.write("run.json", msgspec.json.format(msgspec.json.encode(record)))
    folder.write("plan.json", dump_plan(made))
    folder.write("topology.msgpack", msgspec.msgpack.encode(prepared.topology))
    folder.write("experiment.yaml", prepared.text.encode())
    return folder
