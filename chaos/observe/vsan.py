"""Encrypted vSAN as the hosts see it: disk groups, and their content."""

from __future__ import annotations

from chaos.lab import LabUnderTest
from chaos.observe.look import WITHIN_S, nodes_of
from protocol.errors import GuestFault
from protocol.messages.host.vsan import QueryVsan, ReadVsanObject, VsanObjectAnswer, VsanState
from protocol.terms import NodeName, Role
from protocol.vsan import ComponentKind

NONCE, BLOCK = b"keystead vsan probe", 0


async def states(lab: LabUnderTest) -> dict[NodeName, VsanState]:
    """The vSAN of each host that answers and has a disk group."""
    hosts = nodes_of(lab, Role.ESXI)
    answers = await lab.ask_each(hosts, QueryVsan(), within_s=WITHIN_S)
    return {h: s for h, s in answers.items() if isinstance(s, VsanState) and s.groups}


def mounted(state: VsanState) -> bool:
    """Whether every disk group of the host is mounted."""
    return all(group.mounted for group in state.groups)


async def read(lab: LabUnderTest, found: dict[NodeName, VsanState]) -> dict[str, bool]:
    """For each object on these hosts: whether a replica of it can be read from the disk now and no
    other one contradicts it. A host reads only what is as it was written (VSAN-04)."""
    places: dict[str, list[NodeName]] = {}
    for host, state in found.items():
        for group in state.groups:
            for part in group.components:
                if part.kind is ComponentKind.REPLICA and host not in places.get(part.object, ()):
                    places.setdefault(part.object, []).append(host)
    right = {}
    for name, hosts in sorted(places.items()):
        message = ReadVsanObject(object=name, nonce=NONCE, blocks=(BLOCK,))
        answers = await lab.ask_each(hosts, message, within_s=WITHIN_S)
        digests = {a.digest for a in answers.values() if isinstance(a, VsanObjectAnswer)}
        damaged = any(isinstance(a, GuestFault) for a in answers.values())
        right[name] = len(digests) == 1 and not damaged
    return right
