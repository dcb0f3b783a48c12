"""Commanding a lab from a machine where nothing of it is: its TLS proxy, the identity of the
command line, and in words why a lab is not reached.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import CLI, Identities
from lab.machines.attached import LAYOUT, Access, find_access, no_lab, place
from lab.machines.listening import LISTENING, address, authority, find_address, reachable_address
from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room
from lab.state.state_folder import LabFolder, lab_name
from services.runtime.real.broker_tls import LabTls
from services.runtime.real.files import replace_file


def unreachable_error(lab: str, address: str, trouble: str) -> KeysteadError:
    """KS-AGENT-011 when somebody answered at the lab's ``address`` and refused, KS-AGENT-006 when
    nobody did; ``trouble`` is what the client has seen."""
    if unknown(trouble):
        text = f"the lab {lab} answered at {address}, and does not know the key of this file"
        return KeysteadError("KS-AGENT-011", text)
    if refused := cause(trouble):
        return KeysteadError(
            "KS-AGENT-011", f"the lab {lab} is not what is at {address}: {refused}"
        )
    why = trouble or "nobody answers"
    return KeysteadError("KS-AGENT-006", f"the lab {lab} is not reached at {address}: {why}")


def cause(trouble: str) -> str:
    """What TLS says of a stranger, in words; empty when it says nothing."""
    if "CERTIFICATE_VERIFY_FAILED" in trouble:
        return "what listens there has no certificate of this lab"
    if any(sign in trouble for sign in ("WRONG_VERSION_NUMBER", "UNEXPECTED_MESSAGE", "ALERT_")):
        return "what listens there is no TLS port of a lab"
    return ""


def unknown(trouble: str) -> bool:
    """Whether a broker of the lab does not know the nkey; it was reached under the lab's TLS."""
    return "authorization" in trouble.lower()


_LARGEST: Final = 1 << 16


def build_access_file(name: str, at: str) -> bytes:
    """The file for the lab ``name``, whose TLS proxy is reached at ``at`` (empty: where it
    listens).

    KS-LAB-001 without the lab, KS-AGENT-003 for one that does not listen.
    """
    folder = LabFolder(name)
    if folder.record() is None:
        raise no_lab(folder.name)
    listens = find_address(folder.path)
    if listens is None:
        raise KeysteadError("KS-AGENT-003", f"the lab {folder.name} does not listen", LISTENING)
    access = Access(
        lab=folder.name,
        address=str(reachable_address(listens, at)),
        seed=Identities.load(folder.path).control(CLI).seed,
        authority=authority(folder.path).read_text(),
    )
    return msgspec.json.format(msgspec.json.encode(access)) + b"\n"


def attach(data: bytes, name: str) -> Access:
    """Keep a file's content, under ``name`` or (empty) the lab's own; it takes the place of the one
    before. KS-AGENT-002 for what is none, KS-LAB-006 where a lab of that name is this user's."""
    try:
        access = msgspec.json.decode(data[:_LARGEST], type=Access)
        address("the address in it", access.address)
        if access.layout != LAYOUT:
            raise msgspec.ValidationError(f"layout {access.layout}")
    except (msgspec.DecodeError, KeysteadError) as error:
        raise KeysteadError("KS-AGENT-002", f"this gives no access to a lab: {error}") from None
    known = lab_name(name or access.lab)
    if LabFolder(known).record() is not None:
        text = f"a lab {known} is here already"
        raise KeysteadError("KS-LAB-006", text, "attach it under another name with `--name`")
    access = msgspec.structs.replace(access, lab=known)
    try:
        where = place(known)
        where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(where.with_suffix(".pem"), access.authority.encode(), durable=False)
        replace_file(where, msgspec.json.encode(access), mode=0o600, durable=False)
    except OSError as error:
        raise no_room(error) from None
    return access


def detach(name: str) -> None:
    """Forget it; KS-LAB-001 when no lab is attached under that name."""
    if find_access(name) is None:
        raise KeysteadError("KS-LAB-001", f"no lab {name} is attached")
    for suffix in (".json", ".pem"):
        place(name).with_suffix(suffix).unlink(missing_ok=True)


def client_of(access: Access) -> ControlClient:
    """A client of that lab's control broker, not yet connected."""
    secured = LabTls(str(place(access.lab).with_suffix(".pem")), BrokerKind.CONTROL.value)
    return ControlClient(f"nats://{access.address}", access.seed, CLI, secured=secured)


def away(access: Access, trouble: str = "") -> KeysteadError:
    """Why it cannot be commanded; ``trouble`` is what the client has seen."""
    return unreachable_error(access.lab, access.address, trouble)
