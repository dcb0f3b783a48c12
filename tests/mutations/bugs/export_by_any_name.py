"""NKP-03 broken: vCenter exports a native provider whatever name or address it was reached by."""

from __future__ import annotations

from services.vcenter.tasks import native
from tests.mutations.bugs.planting import plant

plant(native, "_by_name", lambda original: lambda vc, authority: None)
