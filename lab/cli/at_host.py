"""``host remove-keys``: what a host's own administrator does there."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lab.api.commands import HostRemoveKeys
from lab.cli.connect import call
from lab.cli.names import HostName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import field, show


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
