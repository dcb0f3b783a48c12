"""Components of objects on this host: made, written, read, moved, rebuilt from another replica.

Whatever a block is asked for, it is read from the disk then, and verified.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from protocol.errors import (
    GuestFault,
    InvalidArgument,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.guest import BLOCK_SIZE, challenge_digest, guest_block, guest_seed, read_guest_block
from protocol.messages.host.vsan import REPLICA_RUN, CreateVsanComponent, FetchVsanReplica
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.vsan import ComponentKind, ComponentState
from services.esxi.host import Host
from services.esxi.vsan.groups import DiskGroup
from services.esxi.vsan.label import (
    DiskImage,
    Label,
    Placed,
    contents,
    recoded,
    with_component,
    with_contents,
)


async def create(host: Host, message: CreateVsanComponent) -> None:
    """A component of an object, on the emptiest disk of the mounted groups; once per object.

    One that is to be copied is stale until its blocks are there, over ends of lives.
    """
    name = message.object
    if host.vsan.find(name) is None:
        seed, copied = guest_seed(message.marker), bool(message.copied_from)
        plain = [guest_block(seed, index, 0) for index in range(message.blocks)]
        if copied:
            plain = [bytes(BLOCK_SIZE)] * message.blocks
        group, disk = _roomiest(host, None)
        await _put(host, group, disk, message.kind, name, plain, stale=copied)
        host.node.record("vsan.component", object=name, what=message.kind.value, group=group.name)
    if message.copied_from:
        await rebuild(host, message.copied_from)


def _roomiest(host: Host, besides: DiskGroup | None) -> tuple[DiskGroup, str]:
    """The disk with the fewest components; ``InvalidState`` when no group is mounted."""
    places = [
        (len(label.components), group.name, disk, group)
        for group in host.vsan
        if group.mounted and group is not besides
        for disk, label in group.labels.items()
        if label is not None
    ]
    if not places:
        raise InvalidState(f"{host.node.name}: no other disk group is mounted that could take it")
    _, _, disk, group = min(places, key=lambda place: place[:3])
    return group, disk


async def _put(
    host: Host,
    group: DiskGroup,
    disk: str,
    kind: ComponentKind,
    name: str,
    plain: list[bytes],
    **marks: bool,
) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    grown = with_component(image, kind, name, plain, dek, **marks)
    await host.vsan.write(host.disk, grown, dek)


async def write(host: Host, name: str, marker: bytes) -> bytes:
    """Fill the replica from a marker; the digest of all blocks as read back."""
    group, disk, placed = _replica(host, name)
    seed = guest_seed(marker)
    plain = [guest_block(seed, index, 0) for index in range(placed.blocks)]
    image, dek = await host.vsan.read(host.disk, group, disk)
    await host.vsan.write(host.disk, with_contents(image, placed, plain, dek), dek)
    return await read(host, name, b"", range(placed.blocks))


async def read(host: Host, name: str, nonce: bytes, blocks: Sequence[int]) -> bytes:
    """The digest over nonce and these blocks; ``GuestFault`` when one is not as it was written."""
    _, _, placed = _replica(host, name)
    if not blocks or not all(0 <= index < placed.blocks for index in blocks):
        raise InvalidArgument(f"blocks: within 0..{placed.blocks - 1} are asked")
    plain = await _contents(host, name)
    return challenge_digest(nonce, [plain[index] for index in blocks])


def _replica(host: Host, name: str) -> tuple[DiskGroup, str, Placed]:
    """``NotFound`` when the host has no replica of it, ``InvalidState`` when it is not active."""
    found = host.vsan.find(name)
    if found is None or found[2].kind is not ComponentKind.REPLICA:
        raise NotFound(f"{host.node.name} has no replica of {name}")
    state = found[0].state_of(found[2])
    if state is not ComponentState.ACTIVE:
        raise InvalidState(f"{name}: its component on {host.node.name} is {state.value}")
    return found


async def _contents(host: Host, name: str) -> list[bytes]:
    """It may move to another disk while this one is read; then that one is read."""
    placed = None
    while placed is None:
        group, disk, _ = _replica(host, name)
        image, dek = await host.vsan.read(host.disk, group, disk)
        placed = next((c for c in image.label.components if c.object == name), None)
    plain = contents(image, placed, dek)
    for index, block in enumerate(plain):
        try:
            read_guest_block(block, index)
        except ValueError as error:
            raise GuestFault(f"{name}: {error}") from None
    return plain


async def replica(host: Host, name: str, first: int, count: int) -> KeyMaterial:
    """Blocks of the replica, for another host that rebuilds its own."""
    if first < 0 or not 0 < count <= REPLICA_RUN:
        raise InvalidArgument(f"count: at most {REPLICA_RUN} blocks are asked")
    return KeyMaterial(b"".join((await _contents(host, name))[first : first + count]))


# ---- evacuation and rebuilding ------------------------------------------------------------------


async def empty_group(host: Host, group: DiskGroup, *, reduced: bool) -> None:
    """No disk of the group has data that only its old keys open.

    Components go to another group of this host; with ``reduced`` and no other group they stay as
    places whose blocks have to come from other replicas (``rebuild``). ``InvalidState`` when
    neither is possible; nothing has changed then.
    """
    held = [(disk, placed) for disk, placed in group.components() if placed.blocks]
    others = [g for g in host.vsan if g is not group and g.mounted]
    if held and not others and not reduced:
        raise InvalidState(
            f"{host.node.name}: {group.name} cannot be evacuated: no other disk group is mounted "
            "there; allow reduced redundancy to rebuild it from other replicas"
        )
    for disk, placed in held:
        if others:
            await _move(host, group, disk, placed)
        else:
            await _make_stale(host, group, disk, placed)


async def _move(host: Host, group: DiskGroup, disk: str, placed: Placed) -> None:
    """A copy elsewhere, whole and durable; then this place is given up, and the copy counts.

    A copy that a former life has left is made anew: its first place was written since, perhaps.
    """
    places = host.vsan.places(placed.object)
    elsewhere = [place for place in places if place[:2] != (group, disk)]
    if placed.moving and elsewhere:
        await _give_up(host, group, disk, placed)  # what it is a copy of goes by itself
        return
    for of, where, copy in elsewhere:
        await _give_up(host, of, where, copy)
    if placed.moving:
        await _counts(host, group, disk, placed)
    image, dek = await host.vsan.read(host.disk, group, disk)
    plain = contents(image, placed, dek)
    target, other = _roomiest(host, group)
    await _put(host, target, other, placed.kind, placed.object, plain, moving=True)
    await _give_up(host, group, disk, placed)
    for of, where, copy in host.vsan.places(placed.object):
        await _counts(host, of, where, copy)


async def _give_up(host: Host, group: DiskGroup, disk: str, placed: Placed) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    kept = tuple(c for c in image.label.components if c.object != placed.object)
    label = msgspec.structs.replace(image.label, components=kept)
    await host.vsan.write(host.disk, recoded(DiskImage(label, image.blocks), dek, dek), dek)


async def _counts(host: Host, group: DiskGroup, disk: str, placed: Placed) -> None:
    """It is no copy any more."""
    image, dek = await host.vsan.read(host.disk, group, disk)
    settled = msgspec.structs.replace(placed, moving=False)
    kept = tuple(settled if c.object == placed.object else c for c in image.label.components)
    await _relabel(host, image, kept, dek)


async def _make_stale(host: Host, group: DiskGroup, disk: str, placed: Placed) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    stale = msgspec.structs.replace(placed, stale=True)
    kept = tuple(stale if c == placed else c for c in image.label.components)
    blank = bytearray(image.blocks)
    first, end = placed.first * BLOCK_SIZE, (placed.first + placed.blocks) * BLOCK_SIZE
    blank[first:end] = bytes(end - first)
    await _relabel(host, DiskImage(image.label, bytes(blank)), kept, dek)


async def _relabel(
    host: Host, image: DiskImage, components: tuple[Placed, ...], dek: KeyMaterial | None
) -> None:
    label: Label = msgspec.structs.replace(image.label, components=components)
    await host.vsan.write(host.disk, DiskImage(label, image.blocks), dek)


async def rebuild(host: Host, members: Sequence[NodeName]) -> None:
    """Stale replicas get their blocks from another host; ``InvalidState`` when none has them."""
    for group in host.vsan:
        stale = [(disk, placed) for disk, placed in group.components() if placed.stale]
        for disk, placed in stale if group.mounted else ():
            plain = await _from_others(host, placed, members)
            image, dek = await host.vsan.read(host.disk, group, disk)
            await host.vsan.write(host.disk, with_contents(image, placed, plain, dek), dek)
            host.node.record("vsan.rebuilt", object=placed.object, group=group.name)


async def _from_others(host: Host, placed: Placed, members: Sequence[NodeName]) -> list[bytes]:
    for member in members:
        if member == host.node.name:
            continue
        try:
            whole = await _from_other(host, placed, member)
        except ProductError:
            continue
        if len(whole) == placed.blocks * BLOCK_SIZE:
            return [whole[at : at + BLOCK_SIZE] for at in range(0, len(whole), BLOCK_SIZE)]
    raise InvalidState(f"{placed.object}: no other host gives a replica of it")


async def _from_other(host: Host, placed: Placed, member: NodeName) -> bytes:
    within_s, parts = host.node.knobs.request_timeout_s, []
    for first in range(0, placed.blocks, REPLICA_RUN):
        count = min(REPLICA_RUN, placed.blocks - first)
        request = FetchVsanReplica(object=placed.object, first=first, count=count)
        reply = await host.ports.bus.request(member, request, within_s=within_s)
        parts.append(reply.content.keys[0].reveal())
    return b"".join(parts)
