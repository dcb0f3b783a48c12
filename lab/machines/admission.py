"""What a lab remembers of bundles: their digests, their ends, and who used them.

A lab has one bundle of each machine, in ``<lab>/bundles/<machine>.json``: a newer one takes the
place of the one before, also of one that was used, whose nkeys are none of the lab's any more
(``replaced``). Whoever joins with it first has it from then on.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from lab.schema.errors import KeysteadError
from protocol.messages.machines import MachineSeeks
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
