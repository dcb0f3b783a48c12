"""The file that one machine joins a lab with: a tar archive, checked whole when it is read; and its
part for a host that is added there later.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from lab.brokers.identities import Identities, control_name, machine_agent
from lab.machines.listening import address
from lab.schema.errors import KeysteadError
from lab.topology.machine_plan import SharedArray
from protocol import names
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import Malformed
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.runtime.real.files import open_regular, read_regular_file


class MachinePart(msgspec.Struct, frozen=True, kw_only=True):
    """For ``machine`` of ``lab``: the private identities of ``nodes`` and of the ``agent`` of their
    process, by the path that they have in a lab's folder."""

    lab: str
    machine: str
    agent: str
    nodes: tuple[NodeName, ...]
    files: dict[str, bytes]


def part_of(
    identities: Identities, lab: str, machine: str, agent: str, nodes: tuple[NodeName, ...]
) -> MachinePart:
    """The part for the process ``agent``, with what is private of these and nothing else."""
    found = identities.files(nodes, (agent,)).items()
    files = {f"identity/{path}": data for path, data in found if not path.startswith("public/")}
    return MachinePart(lab=lab, machine=machine, agent=agent, nodes=nodes, files=files)


def seal_part(part: MachinePart, run: str, key: bytes) -> bytes:
    """The box for the agent of that ``run``, whose public key it is; ``InvalidArgument`` when it is
    none."""
    return seal_secret(key, KeyMaterial(msgspec.msgpack.encode(part)), _purpose(run))


def unseal_part(box: bytes, run: str, key: OneTimeKey, lab: str, machine: str) -> MachinePart:
    """What is in it, when it is for that machine and names nothing but what it is for.

    ``CryptographicFailure`` for a box of another run, ``Malformed`` for any other.
    """
    try:
        part = msgspec.msgpack.decode(key.open_box(box, _purpose(run)).reveal(), type=MachinePart)
        wanted = {f"identity/node/{node}.json" for node in part.nodes}
        wanted.add(f"identity/control/{control_name(part.agent)}.json")
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(f"it is no part of a bundle: {error}") from None
    wrong = [names.NODE.fault(node) for node in part.nodes]
    if any(wrong) or not part.agent.startswith("agent-") or part.files.keys() != wanted:
        raise Malformed("the part of a bundle has other files than it says")
    if (part.lab, part.machine) != (lab, machine):
        raise Malformed(f"the part is for machine {part.machine} of the lab {part.lab}")
    return part


def _purpose(run: str) -> str:
    return f"part of a bundle for run {run}"


LAYOUT: Final = 3
AUTHORITY: Final = "ca.pem"
_MANIFEST: Final = "manifest.json"
_NONE: Final = "it is no bundle, or is damaged"
LARGEST: Final = 64 << 20  # bytes; a bundle of 2,000 hosts has 2


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is for. ``id`` is drawn; ``address`` is that of the lab's TLS proxy; times are
    Unix seconds of the machine that wrote it; ``agents`` are names on the control broker.

    ``gate`` is where it takes connections for its nodes (empty: anywhere; None: nowhere);
    ``shared`` are its datastores in a shared folder; ``real_tpms``: its hosts have TPMs that need
    libraries. ``digest`` is of all the rest.
    """

    layout: int = LAYOUT
    id: str
    lab: str
    machine: str
    address: str
    issued: float
    expires: float
    nodes: tuple[NodeName, ...]
    agents: tuple[str, ...]
    real_tpms: bool
    shared: tuple[SharedArray, ...] = ()
    gate: str | None = None
    digest: str = ""


class Bundle(msgspec.Struct, frozen=True):
    """A bundle that was read: its ``files`` by path; ``digest`` is of the whole file."""

    manifest: Manifest
    files: dict[str, bytes]
    digest: str

    @property
    def authority(self) -> bytes:
        """The lab's certificate authority (PEM)."""
        return self.files[AUTHORITY]


def pack_bundle(manifest: Manifest, files: Mapping[str, bytes]) -> bytes:
    """The bytes of a bundle; ``files`` by path, ``identity/...`` and ``ca.pem``."""
    manifest = msgspec.structs.replace(manifest, digest=_digest(manifest, files))
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {_MANIFEST: msgspec.json.encode(manifest), **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return whole.getvalue()


def peek(path: Path) -> Manifest:
    """What the bundle in ``path`` is for, as it says and nobody has checked: nothing of the private
    identities behind it comes into this process. KS-AGENT-002 when it is none."""
    why = _NONE
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            entry = archive.next()
            first = archive.extractfile(entry) if entry and entry.name == _MANIFEST else None
            if first is not None:
                return msgspec.json.decode(first.read(LARGEST), type=Manifest)
    except OSError as error:
        why = error.strerror or str(error)
    except (tarfile.TarError, msgspec.DecodeError, ValueError, EOFError):
        pass  # a pipe is no bundle either
    raise KeysteadError("KS-AGENT-002", f"{path}: {why}")


def read(path: Path) -> Bundle:
    """The bundle in the file ``path``; KS-AGENT-002 when it is none, or was damaged or edited."""
    try:
        data = read_regular_file(path, LARGEST)
    except OSError as error:
        raise KeysteadError("KS-AGENT-002", f"{path}: {error.strerror}") from None
    except ValueError:
        raise KeysteadError("KS-AGENT-002", f"{path}: {_NONE}") from None
    try:
        found = _unpack_files(data)
        manifest = msgspec.json.decode(found.pop(_MANIFEST), type=Manifest)
        if manifest.layout != LAYOUT:
            why = f"it is of layout {manifest.layout}, and this version reads {LAYOUT}"
        elif manifest.digest == _digest(manifest, found) and _fits(manifest, found):
            return Bundle(manifest, found, hashlib.sha256(data).hexdigest())
        else:
            why = "it is not as it was written"
    except (tarfile.TarError, msgspec.DecodeError, KeyError, ValueError, EOFError, KeysteadError):
        why = _NONE
    raise KeysteadError("KS-AGENT-002", f"{path}: {why}")


def identity_files(manifest: Manifest) -> list[str]:
    """The names in a bundle of the private identities that its machine has."""
    nodes = [f"identity/node/{node}.json" for node in manifest.nodes]
    return nodes + [f"identity/control/{agent}.json" for agent in manifest.agents]


def _fits(manifest: Manifest, files: Mapping[str, bytes]) -> bool:
    """Whether all names are such names, and it has what they lead to; ``ValueError`` when not."""
    control_names = [control_name(agent) for agent in manifest.agents]
    wrong = [names.NODE.fault(node) for node in manifest.nodes]
    wrong += [names.DATASTORE.fault(array.name) for array in manifest.shared]
    wrong += [names.LAB.fault(manifest.lab), names.MACHINE.fault(manifest.machine)]
    address("the bundle's address", manifest.address)
    return (
        not any(wrong)
        and machine_agent(manifest.machine) in control_names
        and {AUTHORITY, *identity_files(manifest)} <= files.keys()
    )


def _unpack_files(data: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None or entry.name in found or entry.size > len(data):
                raise ValueError("a bundle has plain files, each once, without holes")
            found[entry.name] = content.read()
    return found


def _digest(manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Of everything but itself; lengths keep one file from running into the next."""
    whole = hashlib.sha256()
    bare = msgspec.json.encode(msgspec.structs.replace(manifest, digest=""))
    for name, data in {_MANIFEST: bare, **files}.items():
        for part in (name.encode(), data):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()
