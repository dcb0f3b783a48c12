"""What a server of a group remembers of each other one, in this life."""

from __future__ import annotations

import asyncio

from services.kms.audit.audit_trail import TrailEnd


class PeerLine:
    """One peer: what is to be done about it, and when."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()  # something has changed here
        self.back = asyncio.Event()  # try again
        self.over = asyncio.Event()  # the contact that was begun last
        self.due = True  # compare where the two stand
        self.failed = False
        self.failures = 0  # contacts that failed one after another
        self.contacts = 0
        self.boot = 0
        self.checked: TrailEnd | None = None  # the end of our trail that the peer told last
        self.differed_at: float | None = None  # when all was told because the two differ
        self.looked = 0  # the peer's life that has looked for the end that we have of its trail

    def speaks(self, boot: int) -> None:
        """The peer is there, in this life: what waited for an earlier one need not wait longer."""
        if boot != self.boot:
            self.boot, self.due, self.failures = boot, True, 0
            self.over.set()
            self.wake.set()
        if self.failures < 2:  # two that fail each other would wake each other for ever
            self.back.set()
