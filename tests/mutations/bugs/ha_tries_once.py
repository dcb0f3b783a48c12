"""HA-02 broken: a VM whose restart was refused once is given up."""

from __future__ import annotations

from services.esxi.ha import restarts
from tests.mutations.bugs.planting import plant

plant(restarts, "refused", lambda original: lambda *facts, **limits: None)
