"""STD-19 broken (M34b): vCenter pushes keys whose state forbids it."""

from __future__ import annotations

from services.vcenter.providers import standard
from tests.mutations.bugs.planting import plant

plant(standard, "_unusable", lambda original: lambda value: None)
