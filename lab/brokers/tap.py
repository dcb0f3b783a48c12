"""The ear of a recorder on the data broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lab.brokers.identities import TAP, Identities
from services.runtime.real.broker_tls import BrokerTls
from services.runtime.real.bus import TapWire
from services.runtime.wire import TapCallback


@asynccontextmanager
async def open_tap(
    url: str, identities: Identities, hear: TapCallback, secured: BrokerTls | None
) -> AsyncIterator[Callable[[], int]]:
    """See ``LabCore.tapped``; ``NotSent`` when the broker does not answer."""
    wire = TapWire(url, identities.control(TAP).seed, hear, secured=secured)
    await wire.open()
    try:
        yield lambda: wire.gaps
    finally:
        await wire.close()
