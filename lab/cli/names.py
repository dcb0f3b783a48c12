"""Arguments that are names; shell completion offers the names of the lab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from lab.topology.plan import Topology


def _lab(context: Any) -> str:
    given = context.get("--name")
    return (given.raw if given is not None else None) or "default"


def _of_lab(names: Callable[[Topology], Iterable[str]]) -> Callable[[Any], list[str]]:
    """Names from the lab's record on disk, so that completion sends no request to the lab."""

    def complete(context: Any) -> list[str]:
        from lab.schema.errors import KeysteadError
        from lab.state.state_folder import LabFolder
        from lab.topology.lab_file import LabFile
        from lab.topology.plan import plan

        try:
            record = LabFolder(_lab(context)).record()
            if record is None:
                return []
            added = [str(raw["node"]) for raw in record.hosts_added]
            return [*names(plan(LabFile.model_validate(record.file))), *added]
        except (KeysteadError, ValueError):
            return []  # no error on a line that is still being typed

    return complete


def _runs(context: Any) -> list[str]:
    from lab.state.scratch import state_home

    return sorted(path.parent.name for path in (state_home() / "runs").glob("*/run.json"))


def _files() -> list[str]:
    from pathlib import Path

    return sorted(path.name for path in Path.cwd().glob("*.yaml"))


def _experiments(context: Any) -> list[str]:
    from lab.play.prepare import list_shipped

    return [*(path.stem for path in list_shipped()), *_files()]


def _labs(context: Any) -> list[str]:
    from lab.topology.lab_file import SHIPPED

    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def _lab_files(context: Any) -> list[str]:
    return [*_labs(context), *_files()]


def _conditions(context: Any) -> list[str]:
    from lab.serve.waiting import STATES

    return [f"{state}=" for state in STATES]


def _of_reference(noun: str) -> Callable[[Any], list[str]]:
    def complete(context: Any) -> list[str]:
        from chaos.reference import entries

        return [entry.name for entry in entries(noun)]

    return complete


SERVICES = ("attestation", "keyprovider")
"""Roles of the services of a Trust Authority."""
COMPLETERS: Mapping[str, Callable[[Any], list[str]]] = {
    "vm": _of_lab(lambda t: [v.vm for v in t.vms]),
    "host": _of_lab(lambda t: [s.node for s in t.nodes if s.role.value == "esxi"]),
    "node": _of_lab(lambda t: [s.node for s in t.nodes]),
    "service": _of_lab(lambda t: [s.node for s in t.nodes if s.role.value in SERVICES]),
    "run": _runs,
    "experiment": _experiments,
    "lab": _labs,
    "lab file": _lab_files,
    "condition": _conditions,
    **{
        noun: _of_reference(noun)
        for noun in ("fault", "action", "entry", "probe", "op", "check", "selector", "guard")
    },
}
"""By the value of ``completes`` of a field (``lab.schema.commands.arguments.doc``)."""
RunName = Annotated[str, Parameter(completer=COMPLETERS["run"])]
ExperimentName = Annotated[str, Parameter(completer=COMPLETERS["experiment"])]
NodeName = Annotated[str, Parameter(completer=COMPLETERS["node"])]
