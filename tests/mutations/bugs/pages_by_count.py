"""Pages broken: a list is cut by how many entries it has, whatever they weigh."""

from __future__ import annotations

from protocol.messages import pages
from tests.mutations.bugs.planting import plant

plant(pages, "size_on_wire", lambda original: lambda value: 1)
