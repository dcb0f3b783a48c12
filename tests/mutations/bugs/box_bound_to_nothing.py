"""Sealing broken: a box is bound to no message, so that it opens in any other."""

from __future__ import annotations

from services.runtime import bus
from tests.mutations.bugs.planting import plant

plant(bus, "context", lambda original: lambda sender, receiver, message_id, name: b"")
