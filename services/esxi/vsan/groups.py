"""The disk groups of a host in one life: their labels, and the DEKs of mounted ones.

A disk is one file of the host's disk, ``vsan/<group>.<disk>``. Blocks are read from it each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from protocol.errors import DatastoreFault, NotFound
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId
from protocol.vsan import (
    ComponentState,
    VsanComponent,
    VsanDisk,
    VsanDiskGroup,
)
from services.esxi.vsan.label import DiskImage, Label, PlacedComponent, unpack_disk
from services.esxi.vsan.unsynced_objects import UnsyncedObjects
from services.runtime.durable import drop_unfinished, replace_durably
from services.runtime.ports import Disk

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
