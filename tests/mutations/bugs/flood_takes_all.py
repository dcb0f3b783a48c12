"""Shares broken: requests of all peers are counted together, so that one fills the node."""

from __future__ import annotations

from services.runtime.admission import AT_ONCE, RequestAdmission
from tests.mutations.bugs.planting import plant

plant(RequestAdmission, "has_room", lambda original: lambda self, peer: self._from_bus < AT_ONCE)
