"""Preparing and applying a configuration of vSAN encryption on a host.

| disk is | configuration says | what is done with it |
|---|---|---|
| in clear | encrypted | a new DEK; blocks are written under it |
| under KEK a | KEK a for its group, its generation | nothing |
| under KEK a | KEK b for its group, its generation | its DEK is wrapped under b (shallow) |
| of an older generation | a newer one | its group is emptied, each disk gets a new DEK (deep) |
| encrypted | in clear | blocks are written in clear |

Each step replaces one whole disk, and its label names the KEK that opens it. A life that ends
between two steps leaves disks under both KEKs; the provider has both. The next life mounts all of
them, and applying again continues with the rest.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.errors import EncryptionKeyRequired, InvalidState, NotFound, ResourceInUse
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyKind
from protocol.vsan import VsanEncryption
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache
from services.esxi.vsan import mounting
from services.esxi.vsan.components import empty_group, give_up_copies, rebuild_replicas
from services.esxi.vsan.disk_groups import (
    DiskGroup,
    DiskImage,
    Label,
    group_name,
    new_dek,
    reencrypt_disk,
    wrap_dek,
)


class DiskStep(StrEnum):
    """What has to be done with a disk."""

    NOTHING = "nothing"
    REWRAP = "rewrap"
    RECODE = "recode"
    REFORMAT = "reformat"


def step_of(label: Label, wanted: VsanEncryption) -> DiskStep:
    """The step by the table of the module."""
    if not wanted.encryption_enabled:
        return DiskStep.RECODE if label.encrypted else DiskStep.NOTHING
    if not label.encrypted:
        return DiskStep.RECODE
    if label.dek_generation < wanted.dek_generation_id:
        return DiskStep.REFORMAT
    return DiskStep.NOTHING if label.kek == wanted.kek_of(label.group) else DiskStep.REWRAP


async def prepare_encryption(host: EsxiHost, wanted: VsanEncryption) -> None:
    """Keep the profile, and bring its keys into the key cache. Nothing on a disk changes."""
    _check_mounted(host)
    host.archive.change(vsan_next=wanted)
    await host.archive.save(ConfigurationSection.VSAN)
    lacking = await mounting.bring_keys(host, mounting.collect_needed_keys(host, wanted))
    if lacking:
        each = "; ".join(f"{key}: {why}" for key, why in lacking.items())
        raise EncryptionKeyRequired(f"{host.node.name}: {each}", tuple(lacking))


async def apply_encryption(host: EsxiHost, wanted: VsanEncryption, *, reduced: bool) -> None:
    """Change every disk to the configuration, become safe with its host key, and reply when all is
    durable."""
    now = host.archive.now
    if now.vsan != wanted and now.vsan_next != wanted:
        host.archive.change(vsan_next=wanted)
        await host.archive.save(ConfigurationSection.VSAN)
    mounting.set_neighbours(host)
    lacking = await mounting.bring_keys(host, mounting.collect_needed_keys(host, wanted))
    if host.vsan.list_unmounted():
        await mounting.mount_groups(host)
    for kek in wanted.keks():
        if kek in lacking:
            raise EncryptionKeyRequired(f"{host.node.name}: {lacking[kek]}", (kek,))
    for group in host.vsan:
        if any(label is None or step_of(label, wanted) is not DiskStep.NOTHING
               for label in group.labels.values()):  # fmt: skip
            _check_mounted(host, group)
            await _change_group(host, group, wanted, reduced=reduced)
    await rebuild_replicas(host)
    await host.vsan.sync(host.disk)
    if wanted.encryption_enabled:
        await mounting.take_host_key(host, wanted)
    host.archive.change(vsan=wanted, vsan_next=None)
    await host.archive.save(ConfigurationSection.VSAN)
    await _forget_unused(host, wanted)
    host.node.record(
        "vsan.applied",
        encrypted=wanted.encryption_enabled,
        keks=[str(kek) for kek in wanted.keks()],
        generation=wanted.dek_generation_id,
    )


def _check_mounted(host: EsxiHost, group: DiskGroup | None = None) -> None:
    for each in host.vsan if group is None else (group,):
        if not each.mounted:
            raise InvalidState(f"{host.node.name}: {each.name} is not mounted: {each.why}")


async def _change_group(
    host: EsxiHost, group: DiskGroup, wanted: VsanEncryption, *, reduced: bool
) -> None:
    if _needs_step(group, wanted, DiskStep.REFORMAT):
        await empty_group(host, group, reduced=reduced)
    for name in sorted(group.labels):
        label = group.labels[name]
        step = DiskStep.NOTHING if label is None else step_of(label, wanted)
        if label is not None and step is not DiskStep.NOTHING:
            async with host.vsan.changing:
                await _change_disk(host, group, name, step, wanted)


def _needs_step(group: DiskGroup, wanted: VsanEncryption, step: DiskStep) -> bool:
    labels = [label for label in group.labels.values() if label is not None]
    return any(step_of(label, wanted) is step for label in labels)


async def _change_disk(
    host: EsxiHost, group: DiskGroup, name: str, step: DiskStep, wanted: VsanEncryption
) -> None:
    image, dek = await host.vsan.read(host.disk, group, name)
    match step:
        case DiskStep.REWRAP:
            if dek is None:
                raise InvalidState(f"{host.node.name}: {group.name} is not mounted any more")
            label = _wrap_dek(host, image.label, dek, wanted)
            await host.vsan.write(host.disk, DiskImage(label, image.blocks), dek)
        case DiskStep.RECODE | DiskStep.REFORMAT:
            fresh = new_dek(host.rng) if wanted.encryption_enabled else None
            await host.vsan.write(
                host.disk, _reencrypt_disk(host, image, dek, fresh, wanted), fresh
            )
        case DiskStep.NOTHING:
            pass
    host.node.record("vsan.disk", group=group.name, disk=name, step=step.value)


def _reencrypt_disk(
    host: EsxiHost,
    image: DiskImage,
    dek: KeyMaterial | None,
    fresh: KeyMaterial | None,
    wanted: VsanEncryption,
) -> DiskImage:
    made = reencrypt_disk(image, dek, fresh)
    label = msgspec.structs.replace(
        made.label, kek=None, wrapped=b"", dek_generation=wanted.dek_generation_id
    )
    closed_label = label if fresh is None else _wrap_dek(host, label, fresh, wanted)
    return DiskImage(closed_label, made.blocks)


def _wrap_dek(host: EsxiHost, label: Label, dek: KeyMaterial, wanted: VsanEncryption) -> Label:
    """Wrap under the KEK of the group; ``EncryptionKeyRequired`` when that has left the cache."""
    kek = wanted.kek_of(label.group)
    value = None if kek is None else host.keys.get(kek)
    if kek is None or value is None:
        raise EncryptionKeyRequired(f"{host.node.name}: {kek}", () if kek is None else (kek,))
    return wrap_dek(label, host.node.name, dek, kek, value, host.rng)


async def _forget_unused(host: EsxiHost, wanted: VsanEncryption) -> None:
    """KEKs of vSAN that no disk needs any more leave cache and store (STD-17, C10)."""
    used = {*host.vsan.keks(), *wanted.keks()}
    unused = [e.key for e in host.keys.entries() if e.kind is KeyKind.VSAN and e.key not in used]
    for key in unused:
        host.keys.remove(key)
        host.derived.discard(key)
    before = host.archive.now
    stored = [e.key for e in before.store if e.kind is KeyKind.VSAN and e.key not in used]
    if host.node.knobs.store_follows_cache and stored:
        host.archive.now = key_cache.without_keys(before, stored)
        await host.archive.save(host.key_sections())


async def add_disk(host: EsxiHost, group: str, name: str) -> None:
    """Add a disk, encrypted like the host's others: its key comes from the key cache (VSAN-05).

    A group of the installation that has lost all its disks is created again with it.
    """
    found = _group_or_new(host, group)
    if name in found.labels:
        return
    _check_mounted(host, found)
    label, dek, now = Label(group=group, disk=name), None, host.archive.now.vsan
    kek = None if now is None else now.kek_of(group)
    if now is not None and now.encryption_enabled and kek is not None:
        lacking: dict[CryptoKeyId, str] = await mounting.bring_keys(host, {kek: KeyKind.VSAN})
        if lacking:
            raise EncryptionKeyRequired(f"{host.node.name}: {lacking[kek]}", (kek,))
        dek = new_dek(host.rng)
        label = msgspec.structs.replace(label, dek_generation=now.dek_generation_id)
        label = _wrap_dek(host, label, dek, now)
    await host.vsan.write(host.disk, DiskImage(label), dek)
    made = host.vsan.group(group)
    made.mounted, made.why = True, ""
    host.node.record("vsan.disk", group=group, disk=name, step="add")


def _group_or_new(host: EsxiHost, name: str) -> DiskGroup:
    """The group of that name; ``NotFound`` when neither the host nor the installation has it."""
    claim = host.config.vsan
    installed = [] if claim is None else [group_name(n) for n in range(1, claim.groups + 1)]
    try:
        return host.vsan.group(name)
    except NotFound:
        if name not in installed:
            raise
        return DiskGroup(name, mounted=True, why="")


def _check_no_components(group: DiskGroup, name: str) -> None:
    label = group.labels[name]
    if label is not None and label.components:
        raise ResourceInUse(f"disk {name} of {group.name} has components of objects")


async def remove_disk(host: EsxiHost, group: str, name: str) -> None:
    """Remove a disk; ``ResourceInUse`` while it has components."""
    try:
        found = host.vsan.group(group)
    except NotFound:
        return
    if name not in found.labels:
        return
    _check_no_components(found, name)
    if host.archive.now.vsan is None:  # otherwise the next boot claims it again
        host.archive.change(vsan=VsanEncryption())
        await host.archive.save(ConfigurationSection.VSAN)
    async with host.vsan.changing:
        _check_no_components(found, name)
        if found.labels[name] is None:
            await give_up_copies(host)
        await host.vsan.remove(host.disk, found, name)
    host.node.record("vsan.disk", group=group, disk=name, step="remove")
