"""Changes of a cluster's vSAN row."""

from __future__ import annotations

import msgspec

from protocol.terms import ClusterName
from services.vcenter.inventory import Edit
from services.vcenter.tables import ClusterRow, DatabaseTable


def vsan_edit(cluster: ClusterName, **fields: object) -> Edit:
    """Set these fields of its ``VsanRow``; no change when it has none."""

    def change(row: ClusterRow | None) -> ClusterRow | None:
        if row is None or row.vsan is None:
            return row
        return msgspec.structs.replace(row, vsan=msgspec.structs.replace(row.vsan, **fields))

    return Edit(DatabaseTable.CLUSTER, cluster, change)
