"""STD-19 broken (M34b): vCenter pushes keys whose state forbids it."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.vcenter.providers import standard

plant(standard, "_unusable", lambda original: lambda value: None)
