"""What came of a staging, in either mode."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chaos.matrix.control import Control
from chaos.matrix.grid import Staging
from chaos.matrix.play import PlayedEvent


class StagingOutcome(msgspec.Struct, frozen=True):
    """Its events as played or the controls that it was made for, and its history as it stands in a
    file, empty when it was lost."""

    played: tuple[PlayedEvent, ...]
    history: bytes = b""
    controls: tuple[Control, ...] = ()

    @classmethod
    def of_lost_lab(cls, staging: Staging, why: str) -> StagingOutcome:
        """Of a lab that did not come to its end: every event is void."""
        text = f"the lab of {staging.name} was lost: {why}"
        if staging.control:
            lost = Control(block=staging.block, what="anything", held=False, seen=text)
            return cls((), controls=(lost,))
        return cls(tuple(PlayedEvent(event=event, void=text) for event in staging.events))


Done = Callable[[Staging, StagingOutcome], None]
"""Hears of a staging that has ended, from any thread."""
