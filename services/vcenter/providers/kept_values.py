"""Values of standard keys that vCenter keeps for a while, if the knob asks for it (C15, STD-15).

At the default, 0, nothing is ever kept. Otherwise a value stays for ``vc_key_cache_s`` after it was
created or fetched, in memory only, and is dropped then. Using a kept value does not prolong its
stay.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, ProviderId
from services.runtime.ports import Clock


class KeptValues:
    """The kept values by key, each with its end on the monotonic clock, in lab seconds."""

    def __init__(self, clock: Clock, for_s: float) -> None:
        self._clock, self._for_s = clock, for_s
        self._kept: dict[CryptoKeyId, tuple[float, KeyMaterial]] = {}

    def keep(self, values: Iterable[tuple[CryptoKeyId, KeyMaterial]]) -> None:
        """Keep these values from now on; no change at the default of the knob."""
        if not self._for_s:
            return
        until, was_empty = self._clock.monotonic() + self._for_s, not self._kept
        for key, value in values:
            self._kept.pop(key, None)  # the order is that of their ends
            self._kept[key] = until, value
        if was_empty and self._kept:
            self._wait()

    def among(self, keys: Iterable[CryptoKeyId]) -> dict[CryptoKeyId, KeyMaterial]:
        """Those of ``keys`` that are kept now."""
        if not self._kept:
            return {}
        self._drop()
        return {key: self._kept[key][1] for key in keys if key in self._kept}

    def forget(self, keys: Iterable[CryptoKeyId]) -> None:
        """vCenter was told to forget these keys."""
        for key in keys:
            self._kept.pop(key, None)

    def forget_all_of(self, provider: ProviderId) -> None:
        """The provider was deleted, or has other servers."""
        self.forget([key for key in self._kept if key.provider_id == provider])

    def _drop(self) -> None:
        """Drop the values whose time is over."""
        now = self._clock.monotonic()
        for key in [key for key, (until, _) in self._kept.items() if until <= now]:
            del self._kept[key]

    def _wait(self) -> None:
        first = next(iter(self._kept.values()))[0]
        self._clock.alarm(max(0.0, first - self._clock.monotonic()), self._at_the_end)

    def _at_the_end(self) -> None:
        self._drop()
        if self._kept:
            self._wait()
