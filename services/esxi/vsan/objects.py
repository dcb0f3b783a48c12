"""Objects: a guest's write reaches more than half of the components before it is acknowledged.

Each component, the witness too, keeps the *stamp* of its last write: a number that a majority has
promised to one writer before anything was written. Any two majorities share a component, so asking
one majority reveals every acknowledged write. The replica with the highest stamp is the object, one
with a lower stamp is old, and where no replica has the highest stamp the object is inaccessible. If
a writer fails with its write only on its own disk, the next writer learns its number and takes a
higher one.

| role | does |
|---|---|
| a writer | is current, gets a number, writes its own replica durably, then the others |
| a reader | is current, and a majority has the write that it reads: no later read is older |
| a host that was away | asks the others at its boot, and copies the current replica |
| a component created again | has no vote until a majority *of the others* has answered it |

A witness never has the stamp of a write that no replica has durably.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from protocol.errors import (
    GuestFault,
    InvalidArgument,
    InvalidState,
    NotFound,
    ProductError,
    TimedOut,
)
from protocol.guest import BLOCK_SIZE, challenge_digest, guest_block, guest_seed, read_guest_block
from protocol.messages.base import Sealed
from protocol.messages.host.vsan import (
    REPLICA_RUN,
    FetchVsanReplica,
    QueryVsanComponent,
    ReserveVsanWrite,
    SyncVsanComponent,
    VsanReplica,
    VsanReserved,
    VsanVote,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.vsan import ComponentKind, ComponentState
from services.esxi.host import EsxiHost
from services.esxi.vsan.disk_groups import (
    DiskGroup,
    PlacedComponent,
    contents,
    mark_component,
    with_contents,
)
from services.runtime.each import try_each, until_enough

Votes = dict[NodeName, VsanVote]
_TRIES: Final = 4
AGAIN_S: Final = 30.0  # lab seconds between two checks of objects that are behind


# ---- requests of guests --------------------------------------------------------------------------


async def write_object(host: EsxiHost, name: str, marker: bytes) -> bytes:
    """Fill the object's blocks from a marker; returns the digest of all of them as read back."""
    replica_here(host, name)
    await make_current(host, name)
    stamp, seed = await _reserve_number(host, name), guest_seed(marker)
    async with host.vsan.changing:
        group, disk, placed = replica_here(host, name)
        if placed.stamp >= stamp:
            raise InvalidState(f"{name}: another host has written it meanwhile")
        plain = [guest_block(seed, index, 0) for index in range(placed.blocks)]
        await _store_blocks(host, group, disk, placed, plain, stamp)
    if not await _spread(host, placed, stamp):
        raise TimedOut(f"{name}: written here, and too few of its components have seen it")
    try:
        return challenge_digest(b"", (await _read_whole_replica(host, name))[0])
    except InvalidState as error:
        raise TimedOut(f"{name}: it is written, and cannot be read back now: {error}") from None


async def read_object(host: EsxiHost, name: str, nonce: bytes, blocks: Sequence[int]) -> bytes:
    """The digest over nonce and these blocks; ``GuestFault`` when one is damaged."""
    _, _, placed = replica_here(host, name)
    if not blocks or not all(0 <= index < placed.blocks for index in blocks):
        raise InvalidArgument(f"blocks: within 0..{placed.blocks - 1}")
    for _ in range(_TRIES):
        seen = await make_current(host, name)
        plain, stamp = await _read_whole_replica(host, name)
        if stamp == seen:
            return challenge_digest(nonce, [plain[index] for index in blocks])
    raise InvalidState(f"{name}: it is written all the time")


async def make_current(host: EsxiHost, name: str) -> int:
    """Bring this host's replica and a majority to the last write; returns its stamp.

    ``InvalidState`` when that is not possible.
    """
    await host.vsan.sync(host.disk)
    _, _, placed = component_here(host, name)
    votes = await _ask_until_majority(host, placed)
    if placed.stale or placed.blank or placed.stamp < _newest_replicas(placed, votes):
        votes = await catch_up(host, name)
        _, _, placed = component_here(host, name)
    knows = [peer for peer, vote in votes.items() if vote.stamp >= placed.stamp]
    if not _is_majority(placed, 1 + len(knows)):
        if not await _spread(host, placed, placed.stamp):
            raise InvalidState(f"{name}: too few of its components have seen its last write")
    return placed.stamp


# ---- messages between components ---------------------------------------------------------------


def component_here(host: EsxiHost, name: str) -> tuple[DiskGroup, str, PlacedComponent]:
    """This host's component. ``NotFound`` when it has none, ``InvalidState`` when it is absent."""
    found = host.vsan.find(name)
    if found is None:
        raise NotFound(f"{host.node.name} has no component of {name}")
    if not found[0].mounted:
        raise InvalidState(f"{name}: its component on {host.node.name} is absent")
    return found


def replica_here(host: EsxiHost, name: str) -> tuple[DiskGroup, str, PlacedComponent]:
    """As ``component_here``, for a replica."""
    found = host.vsan.find(name)
    if found is None or found[2].kind is not ComponentKind.REPLICA:
        raise NotFound(f"{host.node.name} has no replica of {name}")
    return component_here(host, name)


async def get_vote(host: EsxiHost, name: str) -> VsanVote:
    """See ``QueryVsanComponent``; the answer is durable."""
    await host.vsan.sync(host.disk)
    _, _, placed = component_here(host, name)
    if placed.blank:
        raise InvalidState(f"{name}: its component on {host.node.name} was made again")
    whole = placed.kind is ComponentKind.REPLICA and not placed.stale
    promised = max(placed.promised, placed.stamp)
    return VsanVote(kind=placed.kind, stamp=placed.stamp, promised=promised, whole=whole)


async def reserve_number(host: EsxiHost, name: str, number: int) -> VsanReserved:
    """See ``ReserveVsanWrite``."""
    await get_vote(host, name)  # a component without a vote promises nothing
    return await _promise(host, name, number)


async def _promise(host: EsxiHost, name: str, number: int) -> VsanReserved:
    async with host.vsan.changing:
        group, disk, placed = component_here(host, name)
        highest = max(placed.promised, placed.stamp)
        if number <= highest:
            return VsanReserved(granted=False, promised=highest)
        image, dek = await host.vsan.read(host.disk, group, disk)
        await host.vsan.write(
            host.disk, mark_component(image, name, promised=number, moving=False), dek
        )
        return VsanReserved(granted=True, promised=number)


async def _reserve_number(host: EsxiHost, name: str) -> int:
    """A number that a majority has promised to this write alone; ``InvalidState`` when others write
    all the time, or too few answer."""
    _, _, placed = replica_here(host, name)
    highest = max(placed.promised, placed.stamp)
    for _ in range(_TRIES):
        number = highest + 1
        granted, highest = await _request_number(host, placed, number)
        if granted:
            return number
    raise InvalidState(f"{name}: too few of its components let this host write it")


async def _request_number(host: EsxiHost, placed: PlacedComponent, number: int) -> tuple[bool, int]:
    """Whether this host and a majority promise the number; and the highest number that any has
    promised."""
    own = await reserve_number(host, placed.object, number)
    request = ReserveVsanWrite(object=placed.object, number=number)
    within_s = host.node.knobs.request_timeout_s
    answers = await until_enough(
        _other_hosts(host, placed),
        lambda peer: host.ports.bus.request(peer, request, within_s=within_s),
        lambda found: _is_majority(placed, 1 + sum(a.granted for a in found.values())),
        name="vsan-reserve",
    )
    granted = 1 + sum(answer.granted for answer in answers.values())
    highest = max([own.promised, *(answer.promised for answer in answers.values())])
    return own.granted and _is_majority(placed, granted), highest


async def sync_component(host: EsxiHost, name: str, stamp: int, source: NodeName) -> VsanVote:
    """See ``SyncVsanComponent``."""
    _, _, placed = component_here(host, name)
    if placed.blank:
        await catch_up(host, name)
    elif placed.kind is ComponentKind.WITNESS:
        await _record_stamp(host, name, stamp)
    elif placed.stale or placed.stamp < stamp:
        await _copy_replica(host, placed, source, stamp)
    return await get_vote(host, name)


async def read_replica(host: EsxiHost, name: str, first: int, count: int) -> VsanReplica:
    """See ``FetchVsanReplica``; the stamp belongs to these blocks."""
    if first < 0 or not 0 < count <= REPLICA_RUN:
        raise InvalidArgument(f"count: at most {REPLICA_RUN} blocks")
    plain, stamp = await _read_whole_replica(host, name)
    content = KeyMaterial(b"".join(plain[first : first + count]))
    return VsanReplica(object=name, content=Sealed.of(content), stamp=stamp)


async def catch_up(host: EsxiHost, name: str) -> Votes:
    """Bring this host's component to the last write of any other component; returns their votes.

    ``InvalidState``: too few answer, or no current replica can be read.
    """
    _, _, placed = component_here(host, name)
    votes = await _ask_all_for_votes(host, placed)
    if not _is_majority(placed, len(votes) + (not placed.blank)):
        raise InvalidState(f"{name} is inaccessible: too few of its components answer")
    newest = _newest_replicas(placed, votes)
    if placed.blank:  # without a vote yet, it learns which numbers it must not promise again
        await _promise(host, name, max(vote.promised for vote in votes.values()))
    if placed.kind is ComponentKind.WITNESS:
        await _record_stamp(host, name, newest)
    elif placed.stale or placed.blank or placed.stamp < newest:
        sources = [peer for peer, v in votes.items() if v.whole and v.stamp == newest]
        if not sources:
            raise InvalidState(f"{name} is inaccessible: no current replica of it can be read")
        await _copy_replica(host, placed, sources[0], newest)
    return votes


async def run_resync(host: EsxiHost) -> None:
    """For the rest of this life: synchronise objects that are behind, here and on other hosts."""
    while True:
        for name, note in (await host.vsan.behind.wait()).items():
            try:
                done = await _resync_object(host, name)
            except NotFound:
                done = True
            except ProductError:
                done = False
            if done:
                host.vsan.behind.mark_settled(name, note)
        if host.vsan.behind:
            await host.clock.sleep(AGAIN_S)


async def _resync_object(host: EsxiHost, name: str) -> bool:
    votes = await catch_up(host, name)
    _, _, placed = component_here(host, name)
    if placed.kind is ComponentKind.REPLICA:
        await _spread(host, placed, placed.stamp)
        votes = await _ask_all_for_votes(host, placed)
    even = [
        vote
        for vote in votes.values()
        if vote.stamp == placed.stamp and (vote.whole or vote.kind is ComponentKind.WITNESS)
    ]
    return 1 + len(even) >= len(placed.places)


# ---- votes --------------------------------------------------------------------------------------


def _is_majority(placed: PlacedComponent, votes: int) -> bool:
    return 2 * votes > len(placed.places)


def _newest_replicas(placed: PlacedComponent, votes: Votes) -> int:
    own = 0 if placed.blank else placed.stamp
    return max((own, *(vote.stamp for vote in votes.values())))


def _other_hosts(host: EsxiHost, placed: PlacedComponent) -> list[NodeName]:
    """The hosts of the other components, those of replicas first."""
    others = [place for place in placed.places if place.host != host.node.name]
    return [p.host for p in sorted(others, key=lambda p: p.kind is ComponentKind.WITNESS)]


async def _ask_for_vote(host: EsxiHost, peer: NodeName, name: str) -> VsanVote:
    within_s = host.node.knobs.request_timeout_s
    return await host.ports.bus.request(peer, QueryVsanComponent(object=name), within_s=within_s)


async def _ask_all_for_votes(host: EsxiHost, placed: PlacedComponent) -> Votes:
    others = _other_hosts(host, placed)
    answers = await try_each(
        others, lambda peer: _ask_for_vote(host, peer, placed.object), name="vsan-vote"
    )
    return {
        peer: answer
        for peer, answer in zip(others, answers, strict=True)
        if isinstance(answer, VsanVote)
    }


async def _ask_until_majority(host: EsxiHost, placed: PlacedComponent) -> Votes:
    """Ask until the answers and this host's component are a majority: a silent host costs no
    time."""
    votes = await until_enough(
        _other_hosts(host, placed),
        lambda peer: _ask_for_vote(host, peer, placed.object),
        lambda found: _is_majority(placed, len(found) + (not placed.blank)),
        name="vsan-vote",
    )
    if not _is_majority(placed, len(votes) + (not placed.blank)):
        raise InvalidState(f"{placed.object} is inaccessible: too few of its components answer")
    return votes


async def _spread(host: EsxiHost, placed: PlacedComponent, stamp: int) -> bool:
    """Have every other component take the write of this host's replica; returns whether a majority
    has.

    Components without it are tried again later.
    """
    await host.vsan.sync(host.disk)
    request = SyncVsanComponent(object=placed.object, stamp=stamp, source=host.node.name)
    within_s = host.node.knobs.request_timeout_s
    answers = await try_each(
        _other_hosts(host, placed),
        lambda peer: host.ports.bus.request(peer, request, within_s=within_s),
        name="vsan-sync",
    )
    seen = 1 + sum(isinstance(a, VsanVote) and a.stamp == stamp for a in answers)
    if seen < len(placed.places):
        host.vsan.behind.note((placed.object,))
    return _is_majority(placed, seen)


# ---- on this host's disks -----------------------------------------------------------------------


async def _store_blocks(
    host: EsxiHost,
    group: DiskGroup,
    disk: str,
    placed: PlacedComponent,
    plain: list[bytes],
    stamp: int,
) -> None:
    image, dek = await host.vsan.read(host.disk, group, disk)
    made = with_contents(image, placed, plain, dek, stamp)
    await host.vsan.write(host.disk, mark_component(made, placed.object, moving=False), dek)


async def _record_stamp(host: EsxiHost, name: str, stamp: int) -> None:
    """Record durably that a witness has this write."""
    async with host.vsan.changing:
        group, disk, placed = component_here(host, name)
        if placed.stamp >= stamp and not placed.blank:
            return
        image, dek = await host.vsan.read(host.disk, group, disk)
        made = mark_component(
            image, name, stamp=max(stamp, placed.stamp), blank=False, moving=False
        )
        await host.vsan.write(host.disk, made, dek)


async def _copy_replica(
    host: EsxiHost, placed: PlacedComponent, source: NodeName, least: int
) -> None:
    """Copy the replica of another host, which has at least stamp ``least``; durable on return."""
    plain, stamp = await fetch_replica(host, placed, source)
    if stamp < least or len(plain) != placed.blocks:
        raise InvalidState(f"{placed.object}: the replica on {source} is not current")
    async with host.vsan.changing:
        group, disk, now = component_here(host, placed.object)
        if now.stamp < stamp or now.blank or (now.stale and now.stamp == stamp):
            await _store_blocks(host, group, disk, now, plain, stamp)
            host.node.record("vsan.rebuilt", object=placed.object, group=group.name)


async def fetch_replica(
    host: EsxiHost, placed: PlacedComponent, source: NodeName
) -> tuple[list[bytes], int]:
    """All blocks of another host's replica, of one write, and the stamp of that write."""
    within_s, parts, stamps = host.node.knobs.request_timeout_s, [], []
    for first in range(0, placed.blocks, REPLICA_RUN):
        count = min(REPLICA_RUN, placed.blocks - first)
        request = FetchVsanReplica(object=placed.object, first=first, count=count)
        reply = await host.ports.bus.request(source, request, within_s=within_s)
        parts.append(reply.content.keys[0].reveal())
        stamps.append(reply.stamp)
    if any(stamp != stamps[0] for stamp in stamps):
        raise InvalidState(f"{placed.object}: it is written on {source} meanwhile")
    whole = b"".join(parts)
    return [whole[at : at + BLOCK_SIZE] for at in range(0, len(whole), BLOCK_SIZE)], stamps[0]


async def _read_whole_replica(host: EsxiHost, name: str) -> tuple[list[bytes], int]:
    """The present blocks, verified, and the stamp of their write.

    If the replica moves to another disk meanwhile, that one is read. ``InvalidState`` when its
    blocks are not copied yet.
    """
    placed = None
    while placed is None:
        group, disk, _ = replica_here(host, name)
        image, dek = await host.vsan.read(host.disk, group, disk)
        placed = next((c for c in image.label.components if c.object == name), None)
    if group.state_of(placed) is not ComponentState.ACTIVE:
        raise InvalidState(f"{name}: its component on {host.node.name} is stale")
    plain = contents(image, placed, dek)
    for index, block in enumerate(plain):
        try:
            read_guest_block(block, index)
        except ValueError as error:
            raise GuestFault(f"{name}: {error}") from None
    return plain, placed.stamp
