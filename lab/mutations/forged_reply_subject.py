"""Identity broken: a request may name anybody's subject for its reply."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.runtime import bus

plant(bus, "reply_prefix", lambda original: lambda me, peer: "")
