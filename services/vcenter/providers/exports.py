"""Exports that wait for their download, and transfers that wait for their request: in memory only.

A token opens its export once and for ten minutes (NKP-03). A transfer is the one-time key to which
a client seals the secrets of its next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protocol.crypto.transfer import OneTimeKey
from protocol.errors import Busy, InvalidArgument, NoPermission
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId
from services.runtime.ports import Clock, Rng

TOKEN_LIFETIME_S: Final = 600.0
_TOKEN_SIZE: Final = 32
_MOST: Final = 64  # pending ones at the same time


@dataclass(frozen=True)
class Export:
    """``until`` in monotonic lab seconds."""

    provider: ProviderId
    password: KeyMaterial
    until: float


class Exports:
    """Prepared exports and open transfers; the oldest give way to new ones."""

    def __init__(self, clock: Clock, rng: Rng) -> None:
        self._clock, self._rng = clock, rng
        self._exports: dict[str, Export] = {}
        self._transfers: dict[str, OneTimeKey] = {}

    def prepare(self, provider: ProviderId, password: KeyMaterial) -> tuple[str, float]:
        """A token, and when it expires (Unix time of vCenter's clock). ``Busy`` when too many
        others are pending."""
        self._drop_old()
        if len(self._exports) >= _MOST:
            raise Busy(f"{_MOST} exports wait for their download already")
        token = self._rng.token(_TOKEN_SIZE).hex()
        until = self._clock.monotonic() + TOKEN_LIFETIME_S
        self._exports[token] = Export(provider, password, until)
        return token, self._clock.now() + TOKEN_LIFETIME_S

    def take(self, token: str) -> Export:
        """Take the export of that token, once; ``NoPermission`` for an invalid token."""
        self._drop_old()
        found = self._exports.pop(token, None)
        if found is None:
            raise NoPermission("token: it is unknown, was used, or is too old")
        return found

    def open_transfer(self) -> tuple[str, bytes]:
        """The name of a new transfer, and the public key to seal to."""
        name, key = self._rng.token(16).hex(), OneTimeKey()
        self._transfers[name] = key
        while len(self._transfers) > _MOST:
            del self._transfers[next(iter(self._transfers))]
        return name, key.public

    def transfer(self, name: str) -> OneTimeKey:
        """Take the key of that transfer, which ends now; ``InvalidArgument`` when there is none."""
        key = self._transfers.pop(name, None)
        if key is None:
            raise InvalidArgument("transfer: there is none of that name (any more)")
        return key

    def _drop_old(self) -> None:
        now = self._clock.monotonic()
        self._exports = {t: e for t, e in self._exports.items() if e.until > now}
