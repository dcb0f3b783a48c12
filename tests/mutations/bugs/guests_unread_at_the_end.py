"""The engine broken: guests are not asked to read their disks when the run ends."""

from __future__ import annotations

from chaos.observe.guests import Guests
from tests.mutations.bugs.planting import plant

plant(Guests, "list_planted", lambda original: lambda self: ())
