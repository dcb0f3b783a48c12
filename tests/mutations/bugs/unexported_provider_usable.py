"""NKP-05 broken: a native provider is used before anybody has a backup of it."""

from __future__ import annotations

from services.vcenter.providers import native
from services.vcenter.tasks import encrypt
from tests.mutations.bugs.planting import plant

plant(native, "check_backed_up", lambda _: lambda row: None)
plant(encrypt, "check_backed_up", lambda _: lambda row: None)
