"""``vsan ...``: encryption of a cluster's vSAN, its disks, its objects, its health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.names import HostName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import document, field, is_document, plain, show_one, text
from lab.schema.commands import (
    Command,
    VsanDescribe,
    VsanDisable,
    VsanDiskAdd,
    VsanDiskRemove,
    VsanEnable,
    VsanHealth,
    VsanMount,
    VsanObjectCreate,
    VsanObjectRead,
    VsanRekey,
)

if TYPE_CHECKING:
    from lab.schema.answers import Vsan
    from lab.schema.answers.vsan import VsanGroupLine

CONTENT = (field("host"), field("object"), field("digest"))


def enable(
    cluster: str,
    *,
    provider: Annotated[str, Parameter(help="The key provider; vSAN never takes the default.")],
    erase_disks: Annotated[bool, Parameter(negative="", help="Not available: refused.")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Encrypt a cluster's vSAN; of one that is encrypted, change its key provider.

    keystead vsan enable cluster-a --provider kms-provider
    keystead vsan enable cluster-a --provider native-provider -o json
    """
    _show(VsanEnable(cluster, provider, erase_disks), options)


def disable(cluster: str, *, options: Options = DEFAULTS) -> None:
    """Write a cluster's vSAN in clear again.

    keystead vsan disable cluster-a
    keystead vsan disable cluster-a -o json
    """
    _show(VsanDisable(cluster), options)


def rekey(
    cluster: str,
    *,
    deep: Annotated[bool, Parameter(negative="", help="New data keys too.")] = False,
    allow_reduced_redundancy: Annotated[
        bool, Parameter(negative="", help="Rebuild what cannot be evacuated from other replicas.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """New keys for a cluster's vSAN: KEK and host key, and with --deep the key of each disk.

    keystead vsan rekey cluster-a
    keystead vsan rekey cluster-a --deep --allow-reduced-redundancy
    """
    _show(VsanRekey(cluster, deep, allow_reduced_redundancy), options)


def describe(cluster: str, *, options: Options = DEFAULTS) -> None:
    """Encryption, disk groups and objects of a cluster's vSAN.

    keystead vsan describe cluster-a
    keystead vsan describe cluster-a -o json
    """
    _show(VsanDescribe(cluster), options)


def health(cluster: str, *, options: Options = DEFAULTS) -> None:
    """The encryption tests of vSAN health, made now by vCenter and every host.

    keystead vsan health cluster-a
    keystead vsan health cluster-a -o yaml
    """
    found = call(options, VsanHealth(cluster))
    if is_document(options.output):
        document(found, options.output)
        return
    plain(f"cluster:       {found.cluster}\nhealth:        {found.health.value}")
    for test in found.tests:
        plain(f"test:          {test.test}: {test.health.value}")
        for detail in test.details:
            plain(f"               - {detail}")
    for host in found.hosts:
        kms = {None: "-", True: "reached", False: "not reached"}[host.kms_connected]
        issues = ", ".join(issue.value for issue in host.issues) or "none"
        plain(f"host:          {host.host}: {host.health.value}, key server {kms}, issues {issues}")


def mount(host: HostName, *, options: Options = DEFAULTS) -> None:
    """Have a host try again to mount its disk groups.

    keystead vsan mount esxi-001
    keystead vsan mount esxi-001 -o json
    """
    _show(VsanMount(host), options)


def disk_add(host: HostName, group: str, disk: str, *, options: Options = DEFAULTS) -> None:
    """Add a disk to a disk group of a host.

    keystead vsan disk-add esxi-001 group-1 disk-3
    keystead vsan disk-add esxi-001 group-1 disk-3 -o json
    """
    _show(VsanDiskAdd(host, group, disk), options)


def disk_remove(host: HostName, group: str, disk: str, *, options: Options = DEFAULTS) -> None:
    """Remove a disk that has no components from a disk group of a host.

    keystead vsan disk-remove esxi-001 group-1 disk-3
    keystead vsan disk-remove esxi-001 group-1 disk-3 -o json
    """
    _show(VsanDiskRemove(host, group, disk), options)


def object_create(
    cluster: str,
    item: str,
    *,
    blocks: Annotated[int, Parameter(help="Of 4096 bytes.")] = 64,
    options: Options = DEFAULTS,
) -> None:
    """Make an object of two replicas and a witness, on three hosts; or what one has lost of them.

    keystead vsan object-create cluster-a papers
    keystead vsan object-create cluster-a papers --blocks 8
    """
    _show(VsanObjectCreate(cluster, item, blocks), options)


def object_read(host: HostName, item: str, *blocks: int, options: Options = DEFAULTS) -> None:
    """Read blocks of a host's replica from its disk now; their digest.

    keystead vsan object-read esxi-001 object-1
    keystead vsan object-read esxi-001 object-1 3 5
    """
    answer = call(options, VsanObjectRead(host, item, b"", blocks or (0,)))
    show_one(answer, options.output, CONTENT, key="host")


def _show(command: Command[Vsan], options: Options) -> None:
    found: Any = call(options, command)
    if is_document(options.output):
        document(found, options.output)
        return
    state = found.transition_state.value
    plain(f"cluster:       {found.cluster}")
    plain(f"encryption:    {'on' if found.encryption_enabled else 'off'}, {state}")
    if found.change is not None:
        plain(f"change:        {found.change.value}")
    if found.encryption_enabled:
        plain(f"provider:      {found.provider}")
        plain(f"kek:           {text(found.kek) if found.kek else 'one for each disk group'}")
        plain(f"host key:      {text(found.host_key)}")
        plain(f"data keys:     generation {found.dek_generation}")
    for group in found.groups:
        how = "mounted" if group.mounted else f"not mounted: {group.why}"
        own = _own_keks(group) if found.encryption_enabled and not found.kek else ""
        plain(f"disk group:    {group.host} {group.group}, {len(group.disks)} disks{own}, {how}")
    for host in found.silent:
        plain(f"disk group:    {host} does not answer")
    for item in found.objects:
        parts = ", ".join(f"{c.kind} {c.host} {c.state.value}" for c in item.components)
        plain(f"object:        {item.object} {_reach(item.accessible)} ({parts})")


def _own_keks(group: VsanGroupLine) -> str:
    """The KEKs of a group that has its own: more than one while they are being changed (C3)."""
    keks = sorted({str(disk.key) for disk in group.disks if disk.key})
    return f", kek {' and '.join(keks)}" if keks else ""


def _reach(accessible: bool) -> str:
    return "accessible" if accessible else "INACCESSIBLE"
