"""The key server broken: wrapped material is bound to no key, so that rows may swap it."""

from __future__ import annotations

from services.kms import store
from tests.mutations.bugs.planting import plant

plant(store, "binding", lambda original: lambda *facts: b"")
