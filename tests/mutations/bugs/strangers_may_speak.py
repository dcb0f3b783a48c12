"""Access broken: a host takes messages from any node that reaches it."""

from __future__ import annotations

from services.esxi import uplink
from services.esxi.access import RelationPermission
from tests.mutations.bugs.planting import plant

plant(uplink, "permission", lambda original: lambda kind, relation: RelationPermission.ALLOWED)
