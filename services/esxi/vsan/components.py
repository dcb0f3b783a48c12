"""Components of objects on this host: created, moved, and completed after a move.

``objects`` handles their content.
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.errors import InvalidState, ProductError
from protocol.guest import BLOCK_SIZE, guest_block, guest_seed
from protocol.messages.host.vsan import CreateVsanComponent
from protocol.vsan import ComponentKind
from services.esxi.host import EsxiHost
from services.esxi.vsan import mounting, objects
from services.esxi.vsan.disk_groups import (
    DiskGroup,
    DiskImage,
    PlacedComponent,
    contents,
    mark_component,
    reencrypt_disk,
    with_component,
)

_TRIES: Final = 4


async def create_component(host: EsxiHost, message: CreateVsanComponent) -> None:
    """Create a component of an object on the emptiest disk of the mounted groups; once per object.

    A component that is created again has no vote, and a replica no blocks, until it has caught up
    with the others; this survives ends of lives.
    """
    name = message.object
    found = host.vsan.find(name)
    if found is None:
        _check_nothing_hidden(host, name)
        plain = [bytes(BLOCK_SIZE)] * message.blocks
        if not message.again:
            seed = guest_seed(message.marker)
            plain = [guest_block(seed, index, 0) for index in range(message.blocks)]
        component = PlacedComponent(
            object=name,
            kind=message.kind,
            places=message.places,
            stale=message.again and message.kind is ComponentKind.REPLICA,
            blank=message.again,
        )
        async with host.vsan.changing:
            group, disk = _emptiest_disk(host, None)
            await _write_component(host, group, disk, component, plain)
        host.node.record("vsan.component", object=name, what=message.kind.value, group=group.name)
    mounting.set_neighbours(host)
    _, _, placed = objects.component_here(host, name)
    if placed.blank or placed.stale:
        host.vsan.behind.note((name,))
        await objects.catch_up(host, name)


def _check_nothing_hidden(host: EsxiHost, name: str) -> None:
    """``InvalidState`` if an unmounted group may have the component: a second one would have a
    second vote."""
    for group in host.vsan.list_unmounted():
        raise InvalidState(f"{host.node.name}: {group.name} is not mounted, and may have {name}")


def _emptiest_disk(host: EsxiHost, excluded: DiskGroup | None) -> tuple[DiskGroup, str]:
    """The disk with the fewest components; ``InvalidState`` when no group is mounted."""
    places = [
        (len(label.components), group.name, disk, group)
        for group in host.vsan
        if group.mounted and group is not excluded
        for disk, label in group.labels.items()
        if label is not None
    ]
    if not places:
        raise InvalidState(f"{host.node.name}: no other disk group is mounted that could take it")
    _, _, disk, group = min(places, key=lambda place: place[:3])
    return group, disk


async def _write_component(
    host: EsxiHost, group: DiskGroup, disk: str, component: PlacedComponent, plain: list[bytes]
) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    await host.vsan.write(host.disk, with_component(image, component, plain, dek), dek)


# ---- evacuation and rebuilding ------------------------------------------------------------------


async def empty_group(host: EsxiHost, group: DiskGroup, *, reduced: bool) -> None:
    """Remove all data from the group that only its old keys open.

    Components move to another group of this host. With ``reduced`` and no other group they stay as
    places whose blocks have to be copied from other replicas (``rebuild_replicas``).
    ``InvalidState`` when neither is possible, or another replica is not current: nothing is lost
    then.
    """
    held = [(disk, placed.object) for disk, placed in group.components() if placed.blocks]
    others = [g for g in host.vsan if g is not group and g.mounted]
    if held and not others and not reduced:
        raise InvalidState(
            f"{host.node.name}: {group.name} cannot be evacuated: no other disk group is mounted "
            "there; allow reduced redundancy to rebuild it from other replicas"
        )
    for disk, name in held:
        if others:
            async with host.vsan.changing:
                placed = _current_component(group, disk, name)
                if placed is not None:
                    await _move_component(host, group, disk, placed)
        else:
            await _give_up_blocks(host, group, disk, name)


def _current_component(group: DiskGroup, disk: str, name: str) -> PlacedComponent | None:
    """The component in its present label; None when this place was given up."""
    there = (c for where, c in group.components() if (where, c.object) == (disk, name))
    return next(there, None)


async def _move_component(
    host: EsxiHost, group: DiskGroup, disk: str, placed: PlacedComponent
) -> None:
    """Copy the component elsewhere, durably; then give this place up, and the copy counts.

    A copy that an earlier life has left is made again: its original may have been written since.
    """
    places = host.vsan.places(placed.object)
    elsewhere = [place for place in places if place[:2] != (group, disk)]
    counts = host.vsan.find(placed.object)
    if counts is None:
        raise InvalidState(f"{placed.object}: a group that is not mounted may have its component")
    if counts[:2] != (group, disk):
        await _give_up(host, group, disk, placed)  # the original that counts is copied by itself
        return
    for of, where, copy in elsewhere:
        await _give_up(host, of, where, copy)
    if placed.moving:
        await _mark_component(host, group, disk, placed.object, moving=False)
    image, dek = await host.vsan.read(host.disk, group, disk)
    plain = contents(image, placed, dek)
    target, other = _emptiest_disk(host, group)
    await _write_component(host, target, other, msgspec.structs.replace(placed, moving=True), plain)
    await _give_up(host, group, disk, placed)
    for of, where, copy in host.vsan.places(placed.object):
        await _mark_component(host, of, where, copy.object, moving=False)


async def give_up_copies(host: EsxiHost) -> None:
    """Give up unfinished copies whose originals are lost: later writes are unknown. Durable on
    return; the caller holds ``changing``."""
    for group in host.vsan:
        for disk, placed in tuple(group.components()):
            if placed.moving:
                await _give_up(host, group, disk, placed)


async def _give_up(host: EsxiHost, group: DiskGroup, disk: str, placed: PlacedComponent) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    kept = tuple(c for c in image.label.components if c.object != placed.object)
    label = msgspec.structs.replace(image.label, components=kept)
    await host.vsan.write(host.disk, reencrypt_disk(DiskImage(label, image.blocks), dek, dek), dek)


async def _mark_component(
    host: EsxiHost, group: DiskGroup, disk: str, name: str, **marks: object
) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    await host.vsan.write(host.disk, mark_component(image, name, **marks), dek)


async def _give_up_blocks(host: EsxiHost, group: DiskGroup, disk: str, name: str) -> None:
    """Keep the replica as a place only, once another host has shown one that is as new, block for
    block; ``InvalidState`` when none does, or this one is written again and again."""
    for _ in range(_TRIES):
        seen = _current_component(group, disk, name)
        if seen is None or seen.stale:
            return
        await _check_other_replica(host, seen)
        async with host.vsan.changing:
            if _current_component(group, disk, name) == seen:
                await _make_stale(host, group, disk, seen)
                return
    raise InvalidState(f"{name}: it is written all the time")


async def _check_other_replica(host: EsxiHost, placed: PlacedComponent) -> None:
    """``InvalidState`` when another host cannot show the blocks of this replica, as new as here.

    A vote is not enough: a disk may be damaged where it was not read since.
    """
    for place in placed.places:
        if place.kind is not ComponentKind.REPLICA or place.host == host.node.name:
            continue
        try:
            plain, stamp = await objects.fetch_replica(host, placed, place.host)
        except ProductError:
            continue
        if stamp >= placed.stamp and len(plain) == placed.blocks:
            return
    raise InvalidState(f"{placed.object}: no other host has a current replica of it")


async def _make_stale(host: EsxiHost, group: DiskGroup, disk: str, placed: PlacedComponent) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    blank = bytearray(image.blocks)
    first, end = placed.first * BLOCK_SIZE, (placed.first + placed.blocks) * BLOCK_SIZE
    blank[first:end] = bytes(end - first)
    made = mark_component(DiskImage(image.label, bytes(blank)), placed.object, stale=True)
    await host.vsan.write(host.disk, made, dek)


async def rebuild_replicas(host: EsxiHost) -> None:
    """Copy the blocks of stale replicas from another host; ``InvalidState`` when none has them."""
    stale = [p for g in host.vsan if g.mounted for _, p in g.components() if p.stale]
    for placed in stale:
        await objects.catch_up(host, placed.object)
