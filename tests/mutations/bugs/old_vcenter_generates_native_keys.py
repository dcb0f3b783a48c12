"""SC-40 broken: a vCenter before 8.0 U1 generates keys of native providers."""

from __future__ import annotations

from services.vcenter.tasks import keys
from tests.mutations.bugs.planting import plant

plant(keys, "_generates_derived", lambda original: lambda vc: None)
