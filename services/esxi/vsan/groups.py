"""The disk groups of a host in one life: what their labels say, and the DEKs of mounted ones.

A disk is one file of the host's disk, ``vsan/<group>.<disk>``. Blocks are read from it each time.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
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
from services.esxi.vsan.label import DiskImage, Label, Placed, unpacked
from services.runtime.durable import drop_unfinished, replace_durably
from services.runtime.ports import Disk

FOLDER: Final = "vsan"


@dataclass
class DiskGroup:
    """``labels`` by disk; None: its file is damaged. ``deks``: of mounted encrypted disks."""

    name: str
    labels: dict[str, Label | None] = field(default_factory=dict)
    deks: dict[str, KeyMaterial] = field(default_factory=dict)
    mounted: bool = False
    why: str = "it was not mounted yet"

    def unmount(self, why: str) -> None:
        """Its DEKs leave the memory; its components are absent."""
        self.mounted, self.why = False, why
        self.deks.clear()

    def described(self, hidden: Container[str] = ()) -> VsanDiskGroup:
        """The group as it is told, without copies of the ``hidden`` objects."""
        return VsanDiskGroup(
            group=self.name,
            mounted=self.mounted,
            why=self.why,
            disks=tuple(_disk(name, label) for name, label in sorted(self.labels.items())),
            components=tuple(
                VsanComponent(
                    object=placed.object,
                    kind=placed.kind,
                    state=self.state_of(placed),
                    disk=disk,
                    blocks=placed.blocks,
                )
                for disk, placed in self.components()
                if not (placed.moving and placed.object in hidden)
            ),
        )

    def components(self) -> Iterator[tuple[str, Placed]]:
        """The components of the group, each with its disk."""
        for disk, label in sorted(self.labels.items()):
            for placed in () if label is None else label.components:
                yield disk, placed

    def state_of(self, placed: Placed) -> ComponentState:
        """How a component of this group is."""
        if not self.mounted:
            return ComponentState.ABSENT
        return ComponentState.STALE if placed.stale else ComponentState.ACTIVE


def _disk(name: str, label: Label | None) -> VsanDisk:
    if label is None:
        return VsanDisk(disk=name)
    return VsanDisk(
        disk=name,
        encrypted=label.encrypted,
        kek_id=label.kek,
        dek_generation_id=label.dek_generation,
    )


class DiskGroups:
    """All groups of the host by name; empty on a host that has no vSAN."""

    def __init__(self) -> None:
        self._groups: dict[str, DiskGroup] = {}

    def __iter__(self) -> Iterator[DiskGroup]:
        return iter(self._groups.values())

    def __bool__(self) -> bool:
        return bool(self._groups)

    def group(self, name: str) -> DiskGroup:
        """``NotFound`` when there is none of that name."""
        found = self._groups.get(name)
        if found is None:
            raise NotFound(f"there is no disk group {name} on this host")
        return found

    def unmounted(self) -> list[DiskGroup]:
        """Those that are not mounted."""
        return [group for group in self if not group.mounted]

    def keks(self) -> tuple[CryptoKeyId, ...]:
        """The KEKs that labels name, each once."""
        labels = [label for group in self for label in group.labels.values() if label is not None]
        return tuple(sorted({label.kek for label in labels if label.kek is not None}))

    def places(self, name: str) -> list[tuple[DiskGroup, str, Placed]]:
        """Where the component of an object lies: twice while it is moved, or was to be."""
        return [
            (group, disk, placed)
            for group in self
            for disk, placed in group.components()
            if placed.object == name
        ]

    def find(self, name: str) -> tuple[DiskGroup, str, Placed] | None:
        """The component of an object with its place; what is no copy in the making first."""
        found = sorted(self.places(name), key=lambda place: place[2].moving)
        return found[0] if found else None

    def described(self) -> tuple[VsanDiskGroup, ...]:
        """All groups as they are told; a component that is being moved once."""
        names = {c.object for group in self for _, c in group.components() if not c.moving}
        return tuple(group.described(names) for group in self)

    # ---- files ------------------------------------------------------------------------------

    async def load(self, disk: Disk) -> None:
        """What lies on the host's disk; nothing is mounted then."""
        self._groups = {}
        for name in await disk.list(FOLDER):
            group, dot, own = name.partition(".")
            if not dot or name.endswith(".new"):
                continue
            await drop_unfinished(disk, f"{FOLDER}/{name}")
            image = await self._image(disk, f"{FOLDER}/{name}")
            there = self._groups.setdefault(group, DiskGroup(group))
            there.labels[own] = None if image is None else image.label

    async def read(self, disk: Disk, group: DiskGroup, name: str) -> DiskImage:
        """A disk as it lies there now; ``DatastoreFault`` when it cannot be read."""
        image = await self._image(disk, path_of(group.name, name))
        if image is None:
            raise DatastoreFault(f"disk {name} of {group.name} is damaged")
        return image

    async def _image(self, disk: Disk, path: str) -> DiskImage | None:
        try:
            return unpacked(await disk.read(path))
        except OSError:
            return None

    async def write(
        self, disk: Disk, image: DiskImage, dek: KeyMaterial | None, *, is_new: bool = False
    ) -> None:
        """Put a disk in the place of what it was: the old or the new, whole, at every moment.

        ``dek``: of its group, from then on; None for one in clear.
        """
        label = image.label
        path = path_of(label.group, label.disk)
        try:
            await replace_durably(disk, path, image.packed(), folder_is_new=is_new)
        except OSError as error:
            raise DatastoreFault(f"{path}: {error.strerror or error}") from None
        group = self._groups.setdefault(label.group, DiskGroup(label.group))
        group.labels[label.disk] = label
        if dek is None:
            group.deks.pop(label.disk, None)
        else:
            group.deks[label.disk] = dek

    async def remove(self, disk: Disk, group: DiskGroup, name: str) -> None:
        """The disk leaves its group, durably."""
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
    """Of a disk group of the installation; they are counted from one."""
    return f"group-{number}"


def path_of(group: str, disk: str) -> str:
    """The file of a disk."""
    return f"{FOLDER}/{group}.{disk}"
