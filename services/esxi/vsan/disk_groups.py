"""The disk groups of a host in one life: the label of each disk as bytes, the DEKs of mounted
groups, and the objects whose components may not all have the last write.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from protocol.crypto.disk import DEK_SIZE, DiskCipher
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.errors import DatastoreFault, NotFound
from protocol.guest import BLOCK_SIZE
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName
from protocol.vsan import (
    ComponentKind,
    ComponentState,
    VsanComponent,
    VsanDisk,
    VsanDiskGroup,
    VsanPlacement,
)
from services.runtime.durable import drop_unfinished, replace_durably
from services.runtime.ports import Disk, Rng

_CHECK: Final = 4  # bytes of the CRC-32
_LENGTH: Final = 4  # bytes of the label's length


class PlacedComponent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A component on the disk, in blocks ``first`` and the following; a witness has none.

    ``places``: of all components of the object. ``stamp``: the number of the last write that it
    has. ``promised``: the highest number that it has promised to a writer. ``stale``: its blocks
    have yet to be copied from another replica. ``blank``: it was created again after a loss, and
    has no vote before it knows the stamps of the others. ``moving``: a copy made before its
    original on this host is given up; while the original exists, the original counts. A component
    that is changed when it counts is not a copy any more.
    """

    object: str
    kind: ComponentKind
    first: int = 0
    blocks: int = 0
    places: tuple[VsanPlacement, ...] = ()
    stamp: int = 0
    promised: int = 0
    stale: bool = False
    blank: bool = False
    moving: bool = False


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The clear part of a disk. ``wrapped``: the DEK under ``kek``; empty without one."""

    group: str
    disk: str
    kek: CryptoKeyId | None = None
    dek_generation: int = 0
    wrapped: bytes = b""
    components: tuple[PlacedComponent, ...] = ()

    @property
    def encrypted(self) -> bool:
        """Whether opening the disk needs a key."""
        return self.kek is not None


_decoder = msgspec.msgpack.Decoder(Label)


@dataclass(frozen=True)
class DiskImage:
    """A disk as stored: ``blocks`` are encrypted."""

    label: Label
    blocks: bytes = b""

    @property
    def count(self) -> int:
        """How many blocks the disk has."""
        return len(self.blocks) // BLOCK_SIZE

    def pack(self) -> bytes:
        """The bytes of its file."""
        label = msgspec.msgpack.encode(self.label)
        body = len(label).to_bytes(_LENGTH, "big") + label + self.blocks
        return zlib.crc32(body).to_bytes(_CHECK, "big") + body


def unpack_disk(data: bytes) -> DiskImage | None:
    """The disk in the bytes of its file; None when they are damaged."""
    body = data[_CHECK:]
    if data[:_CHECK] != zlib.crc32(body).to_bytes(_CHECK, "big"):
        return None
    size = int.from_bytes(body[:_LENGTH], "big")
    try:
        label = _decoder.decode(body[_LENGTH : _LENGTH + size])
    except (msgspec.DecodeError, ValueError):
        return None
    return DiskImage(label, body[_LENGTH + size :])


def new_dek(rng: Rng) -> KeyMaterial:
    """A data encryption key for one disk."""
    return KeyMaterial(rng.token(DEK_SIZE))


def wrap_dek(
    label: Label, host: NodeName, dek: KeyMaterial, kek: CryptoKeyId, value: KeyMaterial, rng: Rng
) -> Label:
    """The label with its DEK wrapped under that KEK."""
    wrapped = wrap(value, dek, _aad(host, label), rng.token(NONCE_SIZE))
    return msgspec.structs.replace(label, kek=kek, wrapped=wrapped)


def unwrap_dek(label: Label, host: NodeName, value: KeyMaterial) -> KeyMaterial:
    """The DEK of a disk; ``CryptographicFailure`` when this KEK does not wrap it."""
    return unwrap(value, label.wrapped, _aad(host, label))


def _aad(host: NodeName, label: Label) -> bytes:
    return msgspec.msgpack.encode(("keystead vsan disk", host, label.group, label.disk))


def contents(image: DiskImage, placed: PlacedComponent, dek: KeyMaterial | None) -> list[bytes]:
    """The blocks of a component in clear."""
    cipher = None if dek is None else DiskCipher(dek)
    found = []
    for index in range(placed.first, placed.first + placed.blocks):
        stored = image.blocks[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
        found.append(stored if cipher is None else cipher.decrypt(index, stored))
    return found


def reencrypt_disk(image: DiskImage, old: KeyMaterial | None, new: KeyMaterial | None) -> DiskImage:
    """The components under another DEK, one after another; None stands for blocks in clear.

    Blocks that belong to no component any more are dropped.
    """
    cipher = None if new is None else DiskCipher(new)
    made: list[bytes] = []
    components = []
    for placed in image.label.components:
        components.append(msgspec.structs.replace(placed, first=len(made)))
        for block in contents(image, placed, old):
            made.append(block if cipher is None else cipher.encrypt(len(made), block))
    label = msgspec.structs.replace(image.label, components=tuple(components))
    return DiskImage(label, b"".join(made))


def with_contents(
    image: DiskImage,
    placed: PlacedComponent,
    plain: list[bytes],
    dek: KeyMaterial | None,
    stamp: int,
) -> DiskImage:
    """The disk with the blocks of that write in place of a component's, which is complete then."""
    cipher = None if dek is None else DiskCipher(dek)
    blocks = bytearray(image.blocks)
    for number, block in enumerate(plain):
        index = placed.first + number
        stored = block if cipher is None else cipher.encrypt(index, block)
        blocks[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE] = stored
    made = DiskImage(image.label, bytes(blocks))
    return mark_component(made, placed.object, stale=False, blank=False, stamp=stamp)


def mark_component(image: DiskImage, name: str, **marks: object) -> DiskImage:
    """The disk with these fields of its component of an object changed; no block changes."""
    components = tuple(
        msgspec.structs.replace(c, **marks) if c.object == name else c
        for c in image.label.components
    )
    label = msgspec.structs.replace(image.label, components=components)
    return DiskImage(label, image.blocks)


def with_component(
    image: DiskImage, component: PlacedComponent, plain: list[bytes], dek: KeyMaterial | None
) -> DiskImage:
    """The disk with a further component, after the present ones."""
    placed = msgspec.structs.replace(component, first=image.count, blocks=len(plain))
    label = msgspec.structs.replace(image.label, components=(*image.label.components, placed))
    grown = DiskImage(label, image.blocks + bytes(BLOCK_SIZE * len(plain)))
    made = with_contents(grown, placed, plain, dek, placed.stamp)
    return mark_component(made, placed.object, stale=placed.stale, blank=placed.blank)


class UnsyncedObjects:
    """The names of these objects, in order of the first note, each with the number of its latest
    one."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._notes = 0
        self._some = asyncio.Event()

    def note(self, names: Iterable[str]) -> None:
        """Note objects that have to be checked."""
        self._notes += 1
        self._names.update(dict.fromkeys(names, self._notes))
        if self._names:
            self._some.set()

    async def wait(self) -> dict[str, int]:
        """All noted objects with their latest notes; waits until there is one."""
        await self._some.wait()
        return dict(self._names)

    def __bool__(self) -> bool:
        return bool(self._names)

    def mark_settled(self, name: str, note: int) -> None:
        """All components of this object have had the same write since that note; no change if it
        was noted again."""
        if self._names.get(name) == note:
            del self._names[name]
        if not self._names:
            self._some.clear()


FOLDER: Final = "vsan"


@dataclass
class DiskGroup:
    """``labels`` by disk; None: its file is damaged. ``deks``: of mounted encrypted disks.
    ``coming``: the future state of disks that are being replaced."""

    name: str
    labels: dict[str, Label | None] = field(default_factory=dict)
    deks: dict[str, KeyMaterial] = field(default_factory=dict)
    coming: dict[str, tuple[Label, KeyMaterial | None]] = field(default_factory=dict)
    mounted: bool = False
    why: str = "it was not mounted yet"

    def unmount(self, why: str) -> None:
        """Unmount: the DEKs leave the memory, and the components are absent."""
        self.mounted, self.why = False, why
        self.deks.clear()

    def keys_of(self, disk: str) -> list[tuple[Label | None, KeyMaterial | None]]:
        """The labels that the disk may have at this moment, each with its DEK."""
        now = (self.labels.get(disk), self.deks.get(disk))
        return [now, self.coming[disk]] if disk in self.coming else [now]

    def describe(self, hidden: Container[str] = ()) -> VsanDiskGroup:
        """The group for reports, without copies of the ``hidden`` objects."""
        return VsanDiskGroup(
            group=self.name,
            mounted=self.mounted,
            why=self.why,
            disks=tuple(_describe_disk(name, label) for name, label in sorted(self.labels.items())),
            components=tuple(
                VsanComponent(
                    object=placed.object,
                    kind=placed.kind,
                    state=self.state_of(placed),
                    disk=disk,
                    blocks=placed.blocks,
                    stamp=placed.stamp,
                )
                for disk, placed in self.components()
                if not (placed.moving and placed.object in hidden)
            ),
        )

    def components(self) -> Iterator[tuple[str, PlacedComponent]]:
        """The components of the group, each with its disk."""
        for disk, label in sorted(self.labels.items()):
            for placed in () if label is None else label.components:
                yield disk, placed

    def state_of(self, placed: PlacedComponent) -> ComponentState:
        """The state of a component of this group."""
        if not self.mounted:
            return ComponentState.ABSENT
        return ComponentState.STALE if placed.stale or placed.blank else ComponentState.ACTIVE


def _order(placed: PlacedComponent) -> tuple[bool, bool, int, int]:
    return placed.moving, placed.blank, -placed.stamp, -placed.promised


def _describe_disk(name: str, label: Label | None) -> VsanDisk:
    if label is None:
        return VsanDisk(disk=name)
    return VsanDisk(
        disk=name,
        encrypted=label.encrypted,
        kek_id=label.kek,
        dek_generation_id=label.dek_generation,
    )


class DiskGroups:
    """All groups of the host by name; empty on a host without vSAN."""

    def __init__(self) -> None:
        self._groups: dict[str, DiskGroup] = {}
        self._unsure = 0  # disks that may have been written without a sync of the folder
        self.changing = asyncio.Lock()
        # Held while a disk is read, changed and written; never during a request to another node.
        self.behind = UnsyncedObjects()

    def __iter__(self) -> Iterator[DiskGroup]:
        return iter(tuple(self._groups.values()))  # callers may wait while they iterate

    def __bool__(self) -> bool:
        return bool(self._groups)

    def group(self, name: str) -> DiskGroup:
        """The group of that name; ``NotFound`` when there is none."""
        found = self._groups.get(name)
        if found is None:
            raise NotFound(f"there is no disk group {name} on this host")
        return found

    def list_unmounted(self) -> list[DiskGroup]:
        """The groups that are not mounted."""
        return [group for group in self if not group.mounted]

    def keks(self) -> tuple[CryptoKeyId, ...]:
        """The KEKs that labels name, each once."""
        labels = [label for group in self for label in group.labels.values() if label is not None]
        return tuple(sorted({label.kek for label in labels if label.kek is not None}))

    def places(self, name: str) -> list[tuple[DiskGroup, str, PlacedComponent]]:
        """The places of an object's component: two while it is moved, or after an interrupted
        move."""
        return [
            (group, disk, placed)
            for group in self
            for disk, placed in group.components()
            if placed.object == name
        ]

    def find(self, name: str) -> tuple[DiskGroup, str, PlacedComponent] | None:
        """The component of an object with its place; None when none counts.

        Of several that are not unfinished copies the newest counts: a disk was pulled out, its
        component created again, and the disk put back. An unfinished copy counts for nothing while
        a group is not mounted: that group may have later writes.
        """
        hidden = bool(self.list_unmounted())
        found = [place for place in self.places(name) if not (hidden and place[2].moving)]
        return min(found, key=lambda place: _order(place[2]), default=None)

    def describe(self) -> tuple[VsanDiskGroup, ...]:
        """All groups for reports; a component that is being moved appears once."""
        names = {c.object for group in self for _, c in group.components() if not c.moving}
        return tuple(group.describe(names) for group in self)

    # ---- files ------------------------------------------------------------------------------

    async def load(self, disk: Disk) -> None:
        """Read the labels on the host's disk, except those of mounted groups.

        A life that failed may have written a disk without a sync of its folder.
        """
        self._unsure += 1
        mounted = {name: group for name, group in self._groups.items() if group.mounted}
        found: dict[str, DiskGroup] = {}
        for name in await disk.list(FOLDER):
            group, dot, own = name.partition(".")
            if not dot or name.endswith(".new") or group in mounted:
                continue
            await drop_unfinished(disk, f"{FOLDER}/{name}")
            try:
                image = await self._read_image(disk, group, own)
            except DatastoreFault:
                image = None
            there = found.setdefault(group, DiskGroup(group))
            there.labels[own] = None if image is None else image.label
        self._groups = dict(sorted({**found, **mounted}.items()))

    def add_unseen(self, names: Iterable[str], why: str) -> None:
        """Groups of these names exist; nothing else is known of them."""
        for name in names:
            self._groups.setdefault(name, DiskGroup(name)).why = why

    async def read(
        self, disk: Disk, group: DiskGroup, name: str
    ) -> tuple[DiskImage, KeyMaterial | None]:
        """A disk as it is now, with the DEK of its blocks, also while it is being replaced.

        ``DatastoreFault`` when it cannot be read, is damaged, or was exchanged. A damaged disk
        unmounts its group: its components are absent from then on.
        """
        looks = group.keys_of(name)
        image = await self._read_image(disk, group.name, name)
        if image is None:
            group.labels[name] = None
            group.unmount(f"disk {name} is damaged")
            raise DatastoreFault(f"disk {name} of {group.name} is damaged")
        for label, dek in (*looks, *group.keys_of(name)):
            if label == image.label and (dek is not None) is image.label.encrypted:
                return image, dek
        raise DatastoreFault(f"disk {name} of {group.name} is not as it was mounted")

    async def _read_image(self, disk: Disk, group: str, name: str) -> DiskImage | None:
        """The disk; None when it is damaged. ``DatastoreFault`` when the device fails."""
        try:
            return unpack_disk(await disk.read(path_of(group, name)))
        except OSError as error:
            text = f"disk {name} of {group} cannot be read: {error.strerror or error}"
            raise DatastoreFault(text) from None

    async def write(
        self, disk: Disk, image: DiskImage, dek: KeyMaterial | None, *, is_new: bool = False
    ) -> None:
        """Replace a disk; at every moment it is the old or the new one, whole.

        ``dek``: the disk's DEK from then on; None for one in clear. ``DatastoreFault`` when the
        device fails: the disk is then read again, and a group with an unreadable disk is unmounted.
        """
        label = image.label
        path = path_of(label.group, label.disk)
        group = self._groups.get(label.group) or DiskGroup(label.group)
        group.coming[label.disk] = (label, dek)
        try:
            await replace_durably(disk, path, image.pack(), folder_is_new=is_new)
        except OSError as error:
            await self._reread_disk(disk, group, label, dek)
            raise DatastoreFault(f"{path}: {error.strerror or error}") from None
        finally:
            del group.coming[label.disk]
        self._groups.setdefault(group.name, group)
        self._replace_label(group, label, dek)

    def _replace_label(self, group: DiskGroup, label: Label, dek: KeyMaterial | None) -> None:
        group.labels[label.disk] = label
        if dek is None:
            group.deks.pop(label.disk, None)
        else:
            group.deks[label.disk] = dek

    async def _reread_disk(
        self, disk: Disk, group: DiskGroup, label: Label, dek: KeyMaterial | None
    ) -> None:
        """A failed replacement may have been made all the same: read the disk again."""
        self._unsure += 1
        before = group.labels.get(label.disk)
        try:
            image = await self._read_image(disk, group.name, label.disk)
        except DatastoreFault as error:
            if before is not None:
                group.unmount(str(error))
            return
        if image is not None and image.label == label:
            self._groups.setdefault(group.name, group)
            self._replace_label(group, label, dek)
        elif image is None or image.label != before:
            group.unmount(f"disk {label.disk} is not as it was mounted")

    async def sync(self, disk: Disk) -> None:
        """Make every disk durable; ``DatastoreFault`` when the device fails."""
        while unsure := self._unsure:
            try:
                await disk.sync_folder(FOLDER)
            except OSError as error:
                raise DatastoreFault(f"{FOLDER}: {error.strerror or error}") from None
            if self._unsure == unsure:
                self._unsure = 0

    async def remove(self, disk: Disk, group: DiskGroup, name: str) -> None:
        """Remove the disk from its group, durably."""
        try:
            await disk.remove(path_of(group.name, name))
            await disk.sync_folder(FOLDER)
        except OSError as error:
            raise DatastoreFault(f"{name}: {error.strerror or error}") from None
        group.labels.pop(name, None)
        group.deks.pop(name, None)
        if not group.labels:
            self._groups.pop(group.name, None)


def group_name(number: int) -> str:
    """The name of a disk group of the installation; numbers start at one."""
    return f"group-{number}"


def path_of(group: str, disk: str) -> str:
    """The file of a disk."""
    return f"{FOLDER}/{group}.{disk}"
