"""Identity broken: a request may name anybody's subject for its reply."""

from __future__ import annotations

from services.runtime import bus
from tests.mutations.bugs.planting import plant

plant(bus, "reply_prefix", lambda original: lambda me, peer: "")
