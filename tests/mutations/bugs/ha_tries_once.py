"""HA-02 broken: a VM whose restart was refused once is given up."""

from __future__ import annotations

from services.esxi.ha import restarts
from tests.mutations.bugs.planting import plant

plant(restarts, "after_refusal", lambda original: lambda *facts, **limits: None)
