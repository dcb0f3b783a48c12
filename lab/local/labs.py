"""Labs of this user from outside: starting and stopping them, a list with how each is, and
versions.
"""

from __future__ import annotations

import asyncio
import json
import platform
import secrets
import time
from typing import Any, Final

import msgspec

from lab.brokers.program import find_server
from lab.machines.attached import all_attached, elsewhere, find_access
from lab.schema.answers.base import MachineState
from lab.schema.answers.local import Brokers, Lab, LabDown, LabList, ListedLab, Version
from lab.schema.commands import GetFaults, GetNodes
from lab.schema.errors import KeysteadError
from lab.state.checkout import keystead_version, version_of
from lab.state.state_folder import Invitations, LabFolder, LabRecord, all_labs
from lab.supervise import launching
from lab.supervise.launching import LabSize, LabState, Start, size_of, state_of

DEFAULT_FILE = "default"
DEFAULT_NAME = "default"
LONGEST_S = 24 * 3600.0  # real seconds that a start may take at most

# ---- starting ----------------------------------------------------------------------------


def starting(
    name: str,
    file: str,
    changes: dict[str, Any],
    seed: int | None,
    *,
    retain: bool,
    listen: str = "",
    invite: Invitations | None = None,
) -> Start | None:
    """The start of a lab that was never there, or goes on; None when it runs already.

    ``file`` is a shipped Lab file or a path (empty: the lab's own, or the default one);
    ``changes`` are those of ``lab.topology.lab_file.override``; ``retain`` keeps the folder of a
    new lab that does not start; ``listen`` is where its other machines join, ``invite`` the
    folder that it shares with them. Raises
    ``KeysteadError``: KS-TOPO-001 for a bad file, KS-USE-003
    for a bad option, KS-LAB-006 for a lab that is another one, KS-LAB-013 for
    one that runs elsewhere, KS-TPM-001 without libraries.
    """
    if seed is not None and not 0 <= seed < 1 << 63:
        raise KeysteadError("KS-USE-003", f"--seed {seed}: a whole number from 0 to 2^63 - 1")
    folder = LabFolder(name)
    record = folder.record()
    wanted = None
    if record is None and (access := find_access(name)) is not None:
        raise elsewhere(access)
    if file or changes or record is None:
        wanted = lab_file(file or DEFAULT_FILE, changes, name)
    if record is not None:
        launching.check_same(folder, record, wanted, seed)
        if state_of(folder) is LabState.RUNNING:
            _listens(folder, listen)
            return None
    fresh = record is None
    if record is None:
        drawn = secrets.randbelow(1 << 31) if seed is None else seed
        record = LabRecord(name=folder.name, file=wanted or {}, seed=drawn, wall=time.time())
    if listen:
        record = _listening(record, listen)
    if invite is not None:
        record = _inviting(record, invite)
    _refuse_without_tpm(record.file)
    return Start(folder, record, fresh=fresh, retain=retain)


def lab_file(source: str, changes: dict[str, Any], name: str) -> dict[str, Any]:
    """The Lab file with all overrides, as plain data."""
    from lab.topology.lab_file import load
    from lab.topology.plan import plan

    made = load(source)
    plan(made)
    try:
        made = load(made.model_dump(mode="json"), name=name, **changes)
        plan(made)
    except KeysteadError as error:
        text = str(error).removeprefix("lab: ")
        raise KeysteadError("KS-USE-003", f"the options do not fit: {text}") from None
    return made.model_dump(mode="json")


def name_in_file(file: str) -> str:
    """The name that the Lab file at this path gives its lab; empty for a shipped one, and for none.

    KS-TOPO-001 for a bad file.
    """
    from lab.topology.lab_file import is_shipped, load

    return load(file).name if file and not is_shipped(file) else ""


def _listens(folder: LabFolder, listen: str) -> None:
    """KS-LAB-006 for a lab that runs and listens elsewhere."""
    from lab.machines.listening import address, find_address

    there = find_address(folder.path)
    if listen and address("--listen", listen) != there:
        where = f"listens at {there}" if there else "does not listen"
        raise KeysteadError("KS-LAB-006", f"the lab {folder.name} runs, and {where}")


def _listening(record: LabRecord, listen: str) -> LabRecord:
    from lab.machines.listening import address

    address("--listen", listen)
    if not record.file["machines"]:
        text = f"--listen {listen}: the Lab file has no `machines:` that could join"
        raise KeysteadError("KS-USE-003", text)
    return msgspec.structs.replace(record, listen=listen)


def _inviting(record: LabRecord, invite: Invitations) -> LabRecord:
    from lab.machines.listening import address

    address("--address", invite.address)
    if not record.file["machines"]:
        text = f"--invite {invite.folder}: the Lab file has no `machines:` that could join"
        raise KeysteadError("KS-USE-003", text)
    return msgspec.structs.replace(record, invite=invite)


def _refuse_without_tpm(file: dict[str, Any]) -> None:
    """``model`` is no TPM: a lab of real processes that sealed into it would show nothing; a
    host without TPM is legal."""
    backends = size_of(file).tpm
    if backends.get("model"):
        raise KeysteadError(
            "KS-USE-003",
            "--tpm model is for simulations: its keys are sealed by nothing real",
            "--tpm libtpms, or --tpm none; `keystead chaos run NAME --mode sim` uses the model",
        )
    if backends.get("libtpms"):
        from services.runtime.tpm.backends import missing_for_libtpms

        missing = missing_for_libtpms()
        if missing:
            raise KeysteadError("KS-TPM-001", missing)


def build_started_lab(start: Start, state: str, seconds: float, missing: tuple[str, ...]) -> Lab:
    """What runs now; ``seconds`` of real time that it took; ``missing``: what is not right."""
    record = start.record
    bus = record.file.get("bus", {})
    more = range(2, bus.get("servers", 1) + 1)
    places = {"data": ("data", *(f"data-{n}" for n in more)), "control": ("control",)}
    ports: dict[str, str] = {}
    for kind, folders in places.items():
        texts = [start.folder.read(f"broker-{name}/endpoint.json") for name in folders]
        ports[kind] = ",".join(
            f"nats://127.0.0.1:{json.loads(text)['port']}" for text in texts if text
        )
    ports["data"] = bus.get("url") or ports["data"]
    server = ".".join(map(str, find_server().version))
    return Lab(
        name=record.name,
        state=state,
        seconds=round(seconds, 2),
        brokers=Brokers(server=server, **ports),
        **msgspec.structs.asdict(_size(record)),
        seed=record.seed,
        folder=str(start.folder.path),
        supervisor=start.folder.supervisor(),
        missing=missing,
        notices=start.notices,
        examples=_three_things(record),
    )


def _size(record: LabRecord) -> LabSize:
    return size_of(record.file, len(record.hosts_added), record.places or ())


def _three_things(record: LabRecord) -> tuple[str, ...]:
    """Commands that fit this lab, to begin with."""
    more = "" if record.name == DEFAULT_NAME else f" --name {record.name}"
    kms = [k["name"] for k in record.file["kms"]]
    found = [f"keystead get vms{more}"]
    if record.file.get("trust_authority"):  # no vCenter is on the way of its keys
        found.append(f"keystead fault vcenter.down{more}")
    elif kms:
        found.append(f"keystead link cut {record.file['vcenters'][0]['name']} {kms[0]}{more}")
    if _size(record).hosts:
        found.append(f"keystead host reboot esxi-001{more}")
    return (*found, f"keystead status{more}", f"keystead get nodes{more}")[:3]


# ---- stopping ----------------------------------------------------------------------------


def down(name: str, *, purge: bool) -> LabDown:
    """Stop a lab, and with ``purge`` remove its folder; KS-LAB-001 when there is none."""
    folder = LabFolder(name)
    if not folder.path.exists():
        raise launching.not_running(folder)
    folder.note_purge(purge)
    try:
        stopped = launching.stop(folder)
    except BaseException:
        folder.note_purge(False)
        raise
    # A start that was stopped halfway may have taken its folder along.
    removed = purge or not folder.path.exists()
    if purge and folder.path.exists():
        launching.purge(folder)
    return LabDown(name=folder.name, stopped=stopped, removed=removed)


def version() -> Version:
    """Versions of keystead and of what it runs on."""
    try:
        server: str | None = str(find_server())
    except KeysteadError:
        server = None
    return Version(
        keystead=keystead_version(),
        python=platform.python_version(),
        nats_server=server,
        tpm2_pytss=version_of("tpm2-pytss"),
    )


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
