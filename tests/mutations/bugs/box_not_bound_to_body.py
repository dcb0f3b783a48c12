"""Sealing broken: a box is bound to its envelope, but not to the clear fields beside the keys."""

from __future__ import annotations

import msgspec

from protocol.crypto import seal
from protocol.messages.base import NIL
from tests.mutations.bugs.planting import plant

plant(
    seal,
    "_digest",
    lambda original: lambda envelope: original(msgspec.structs.replace(envelope, body=NIL)),
)
