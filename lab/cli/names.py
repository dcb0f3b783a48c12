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


SERVICES = ("attestation", "keyprovider")
"""Roles of the services of a Trust Authority."""
COMPLETERS: Mapping[str, Callable[[Any], list[str]]] = {
    "vm": _of_lab(lambda t: [v.vm for v in t.vms]),
    "host": _of_lab(lambda t: [s.node for s in t.nodes if s.role.value == "esxi"]),
    "node": _of_lab(lambda t: [s.node for s in t.nodes]),
    "service": _of_lab(lambda t: [s.node for s in t.nodes if s.role.value in SERVICES]),
}
"""By the value of ``completes`` of a field (``lab.schema.commands.arguments.doc``)."""
NodeName = Annotated[str, Parameter(completer=COMPLETERS["node"])]
