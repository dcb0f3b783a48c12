"""All labs of this user, with how each is."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec

from lab.machines.attached import all_attached
from lab.schema.answers.base import MachineState
from lab.schema.answers.local import LabList, ListedLab
from lab.schema.commands import GetFaults, GetNodes
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder, all_labs
from lab.supervise.launching import LabState, state_of
from lab.supervise.size import size_of

ATTACHED: Final = "attached"
ASKED: Final = (LabState.RUNNING, ATTACHED)
LOOK_LIMIT_S: Final = 3.0  # real seconds that a lab gets to say how it is


def labs() -> LabList:
    """All labs of this user: running, stopped, killed, and attached ones, which run elsewhere.
    Those that run are asked how they are."""
    found = [_build_listed_lab(folder) for folder in all_labs()]
    there = [lab for lab in found if lab is not None]
    here = {lab.name for lab in there}
    there += [ListedLab(name=n, state=ATTACHED) for n in all_attached() if n not in here]
    if any(lab.state in ASKED for lab in there):
        there = asyncio.run(_look_at_all(there))
    return LabList(items=tuple(there))


async def _look_at_all(listed: list[ListedLab]) -> list[ListedLab]:
    return await asyncio.gather(*(_look(lab) for lab in listed))


async def _look(lab: ListedLab) -> ListedLab:
    """A lab as it says it is now: what files tell may be a memory."""
    from lab.local.remote import Remote

    if lab.state not in ASKED:
        return lab
    state, running, why = LabState.SILENT, None, f"no answer within {LOOK_LIMIT_S:g} s"
    nodes = lab.nodes
    try:
        async with asyncio.timeout(LOOK_LIMIT_S), Remote(LabFolder(lab.name)) as remote:
            await remote.do(GetFaults())  # which it knows by itself
            state, why = LabState.RUNNING, "not all of its processes answer"
            found = (await remote.do(GetNodes())).items
            running, why = sum(node.state is MachineState.RUNNING for node in found), ""
            nodes = len(found)
    except TimeoutError:
        pass
    except KeysteadError as error:
        why = str(error)
    seen = lab.state if lab.state == ATTACHED else state.value
    return msgspec.structs.replace(lab, state=seen, nodes=nodes, running=running, reason=why)


def _build_listed_lab(folder: LabFolder) -> ListedLab | None:
    state = state_of(folder)
    known: dict[str, Any] = {
        "name": folder.name,
        "supervisor": folder.supervisor(),
        "folder": str(folder.path),
    }
    try:
        record = folder.record()
    except KeysteadError as error:
        state_text = "damaged" if error.id == "KS-LAB-008" else "of another version"
        return ListedLab(state=state_text, reason=str(error), **known)
    if state is None:
        return None
    if state is LabState.KILLED:
        known["reason"] = folder.end()
    if record is not None:
        size = size_of(record.file, len(record.hosts_added), record.places or ())
        others = len(record.file["kms"]) + len(record.file["vcenters"])
        known |= {
            "nodes": size.hosts + others,
            "hosts": size.hosts,
            "vms": size.vms,
            "pace": size.pace,
            "seed": record.seed,
        }
    return ListedLab(state=state.value, **known)
