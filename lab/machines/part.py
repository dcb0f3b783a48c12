"""What a machine gets of the identities of a host that is added there: its own part of a bundle.

It travels over the control link, in a box that only the agent opens which was taken: brokers, and
who listens at them, see no key. The supervisor hands it before each start of the host's process.
"""

from __future__ import annotations

import msgspec

from lab.brokers.identities import Identities, control_name
from protocol import names
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import Malformed
from protocol.secret import KeyMaterial
from protocol.terms import NodeName


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
