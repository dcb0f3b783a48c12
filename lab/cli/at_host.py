"""``host remove-keys``, ``host dump ...``: what a host's own administrator does there."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.names import HostName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import document, field, is_document, moment, plain, show, show_one
from lab.schema.commands import (
    HostDumpDecrypt,
    HostDumpList,
    HostDumpRemove,
    HostDumpWrite,
    HostRemoveKeys,
)


def remove_keys(
    host: HostName,
    *keys: Annotated[str, Parameter(help="Keys, provider/id each.")],
    options: Options = DEFAULTS,
) -> int:
    """Remove keys from a host's cache and store, at the host: vCenter is not told.

    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead host remove-keys esxi-003 kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json
    """
    answer = call(options, HostRemoveKeys(host, keys))
    columns = (field("key"), field("removed"), field("stored"), field("reason"))
    show(answer, options.output, columns, key="key")
    return 0 if all(row.removed for row in answer.items) else 1


DUMPS = (
    field("dump"),
    field("boot"),
    ("TIME", lambda r: moment(r.at)),
    ("KEY", lambda r: r.problem or r.key or "in clear"),
    field("readable"),
)


def dump_write(
    host: HostName,
    dump: Annotated[str, Parameter(help="Its name; the next number when left out.")] = "",
    *,
    marker: Annotated[str, Parameter(help="Text that goes into it.")] = "",
    vm: Annotated[str, Parameter(help="Of the process of this VM, under the VM's key.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Write a core dump of the host's agent: encrypted under the host key when the host is safe.

    keystead host dump write esxi-001
    keystead host dump write esxi-001 before-the-outage --marker 'found again'
    keystead host dump write esxi-001 --vm vm-01
    """
    answer = call(options, HostDumpWrite(host, dump, marker.encode(), vm))
    show_one(answer, options.output, DUMPS, key="dump")


def dump_list(host: HostName, *, options: Options = DEFAULTS) -> None:
    """Core dumps of a host, by which host key each is locked, and whether that is in memory.

    keystead host dump list esxi-001
    keystead host dump list esxi-001 -o json
    """
    show(call(options, HostDumpList(host)), options.output, DUMPS, key="dump")


def dump_decrypt(host: HostName, dump: str, *, options: Options = DEFAULTS) -> None:
    """Read a core dump in clear, at the host; without its host key in memory it is refused.

    keystead host dump decrypt esxi-001 hostd-zdump.000
    keystead host dump decrypt esxi-001 before-the-outage -o json
    """
    answer = call(options, HostDumpDecrypt(host, dump))
    if is_document(options.output):
        document(answer, options.output)
    else:
        plain(answer.content.decode(errors="replace").rstrip("\n"))


def dump_remove(host: HostName, dump: str, *, options: Options = DEFAULTS) -> None:
    """Remove a core dump from a host's disk.

    keystead host dump remove esxi-001 hostd-zdump.000
    keystead host dump remove esxi-001 before-the-outage -o json
    """
    show(call(options, HostDumpRemove(host, dump)), options.output, DUMPS, key="dump")
