"""Writing the bundle of a machine, and what a lab remembers of bundles: their digests, their ends,
and who used them.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import msgspec

from lab.brokers.identities import Identities, agent_name, machine_agent
from lab.machines.attached import no_lab
from lab.machines.bundle import AUTHORITY, Manifest, pack_bundle
from lab.machines.listening import LISTENING, authority, find_address, reachable_address
from lab.schema.answers.lab import MachineBundle
from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room
from lab.state.state_folder import LabFolder
from lab.topology.lab_file import LabFile
from lab.topology.machine_plan import MachinePlan
from lab.topology.plan import Topology, as_recorded
from protocol.messages.agent import TpmBackend
from protocol.messages.machines import MachineSeeks
from protocol.printable import quote_if_needed
from protocol.terms import NodeName
from services.runtime.real.files import replace_file


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """The one bundle of a machine; ``holder``: who joined with it, empty before."""

    id: str
    digest: str
    expires: float
    holder: str = ""


def last_run(folder: Path, machine: str) -> str:
    """The run of a machine's agent that was taken last, and has not ended in order; else empty."""
    try:
        return (folder / "bundles" / f"{machine}.run").read_text()
    except FileNotFoundError:
        return ""


def note_run(folder: Path, machine: str, run: str) -> None:
    """That run is taken, or (empty) nothing of the last one is alive; durable before it counts."""
    path = folder / "bundles" / f"{machine}.run"
    replace_file(path, run.encode(), durable=True)


def _path(folder: Path, machine: str) -> Path:
    return folder / "bundles" / f"{machine}.json"


def keep(folder: Path, machine: str, issued: Issued) -> None:
    path = _path(folder, machine)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    replace_file(path, msgspec.json.encode(issued), durable=True)


def read_issued(folder: Path, machine: str) -> Issued | None:
    """The bundle of a machine; None before its first. ``DecodeError`` for a damaged note."""
    try:
        return msgspec.json.decode(_path(folder, machine).read_bytes(), type=Issued)
    except FileNotFoundError:
        return None


def stands(folder: Path, machine: str, digest: str, now: float) -> bool:
    """Whether the bundle with that digest is the machine's, and lets it join at ``now``."""
    try:
        known = read_issued(folder, machine)
    except msgspec.DecodeError:
        return False
    return (
        known is not None and known.digest == digest and (bool(known.holder) or known.expires > now)
    )


def use(folder: Path, seeks: MachineSeeks, now: float) -> None:
    """Let the machine join with its bundle, which is that holder's from now on, durably.

    ``now``: Unix seconds. KS-AGENT-004 when the bundle is none of this lab's, edited, out of date,
    or another machine has used it.
    """
    try:
        known = read_issued(folder, seeks.machine)
    except msgspec.DecodeError:
        raise KeysteadError(
            "KS-AGENT-004", f"what is known of the bundle of machine {seeks.machine} is damaged"
        ) from None
    if known is None or known.id != seeks.bundle:
        why = "was never written by this lab, or a newer one has taken its place"
    elif known.digest != seeks.digest:
        why = "is not as this lab wrote it"
    elif known.holder == seeks.holder:
        return
    elif known.holder:
        why = "has been used on another machine"
    elif known.expires < now:
        why = "is out of date"
    else:
        keep(folder, seeks.machine, msgspec.structs.replace(known, holder=seeks.holder))
        return
    raise KeysteadError("KS-AGENT-004", f"the bundle of machine {seeks.machine} {why}")


def issue(name: str, machine: str, file: Path, at: str, good_for_s: float) -> MachineBundle:
    """Write the bundle of ``machine`` for the lab ``name`` to ``file``, for its owner only.

    ``at`` is the address of the lab's TLS proxy as that machine reaches it; empty: where it
    listens. KS-LAB-001 without the lab, KS-AGENT-003 for a machine that it does not have or before
    the lab listens, KS-USE-003 for a file that is there.
    """
    folder = LabFolder(name)
    record = folder.record()
    if record is None:
        raise no_lab(folder.name)
    lab_file = LabFile.model_validate(record.file)
    topology = as_recorded(lab_file, record)
    found = _machine(topology, machine)
    listens = find_address(folder.path)
    if listens is None:
        raise KeysteadError("KS-AGENT-003", f"the lab {folder.name} does not listen yet", LISTENING)
    where = reachable_address(listens, at)
    agents = (machine_agent(machine), *(agent_name(number) for number in found.processes))
    now = time.time()
    manifest = Manifest(
        id=os.urandom(12).hex(),
        lab=folder.name,
        machine=machine,
        address=str(where),
        issued=now,
        expires=now + good_for_s,
        nodes=found.nodes,
        agents=agents,
        shared=found.shared,
        gate=found.address if topology.gates else None,
        real_tpms=any(topology.spec(n).tpm is TpmBackend.LIBTPMS for n in found.nodes),
    )
    private = _identities(folder, topology, machine, found.nodes, agents)
    files = {f"identity/{path}": data for path, data in private.items()}
    data = pack_bundle(manifest, {AUTHORITY: authority(folder.path).read_bytes(), **files})
    write_new(file, data)
    try:
        Identities.load(folder.path).keep(private)
        note = Issued(
            id=manifest.id, digest=hashlib.sha256(data).hexdigest(), expires=manifest.expires
        )
        keep(folder.path, machine, note)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise no_room(error) from None
    return MachineBundle(
        machine=machine,
        file=str(file),
        lab=folder.name,
        address=manifest.address,
        expires=manifest.expires,
        nodes=found.nodes,
    )


def _identities(
    folder: LabFolder,
    topology: Topology,
    machine: str,
    nodes: tuple[NodeName, ...],
    agents: tuple[str, ...],
) -> dict[str, bytes]:
    """Those of a bundle: new ones where an earlier bundle had them. Servers that somebody else runs
    know nodes by the nkeys that their administrator was told, which stay."""
    identities = Identities.load(folder.path)
    try:
        first = read_issued(folder.path, machine) is None
    except msgspec.DecodeError:
        first = False
    if first:
        return identities.files(nodes, agents)
    if topology.bus.urls:
        return identities.files(nodes, ()) | identities.renew_keys((), agents)
    return identities.renew_keys(nodes, agents)


def _machine(topology: Topology, machine: str) -> MachinePlan:
    for found in topology.machines:
        if found.machine == machine:
            return found
    there = ", ".join(m.machine for m in topology.machines) or "none: its file has no `machines:`"
    text = f"the lab {topology.name} has no machine {quote_if_needed(machine)}; there are: {there}"
    raise KeysteadError("KS-AGENT-003", text)


def write_new(file: Path, data: bytes) -> None:
    """Write a file for its owner only. One that is there is somebody's: it is not written over."""
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as out:
                out.write(data)
        except OSError:
            file.unlink(missing_ok=True)  # private keys, and no bundle
            raise
    except FileExistsError:
        raise KeysteadError("KS-USE-003", f"{file} is there already", "name another file") from None
    except OSError as error:
        raise KeysteadError("KS-OUT-001", f"{file}: {error.strerror or error}") from None
