"""Sealing broken: a context is bound to no pair of lives, so that one node's serves another."""

from __future__ import annotations

from protocol.crypto import contexts
from tests.mutations.bugs.planting import plant

plant(contexts, "_info", lambda original: lambda sender, boot, receiver, life: b"")
