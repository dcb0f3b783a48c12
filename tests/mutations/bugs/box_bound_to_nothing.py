"""Sealing broken: a box is bound to no message, so that it opens in any other."""

from __future__ import annotations

from protocol.crypto import seal
from tests.mutations.bugs.planting import plant

plant(seal, "_digest", lambda original: lambda envelope: b"")
