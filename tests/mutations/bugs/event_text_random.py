"""Determinism broken: the text of an event has something in it that no seed fixes."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from services.vcenter.events import EventDraft
from tests.mutations.bugs.planting import plant


def _with_a_number(original: Any) -> Any:
    def numbered(self: EventDraft, sequence: int, at: float) -> Any:
        event = original(self, sequence, at)
        return msgspec.structs.replace(event, text=f"{event.text} ({os.getrandom(4).hex()})")

    return numbered


plant(EventDraft, "with_sequence", _with_a_number)
