"""Values of new keys for hosts that cannot take them yet, because they are not safe.

Such a host is made safe by a pass of its own, which is gathered, so that many new keys wait for
one pass. It takes their values from here, and asks key servers for those only that are not here.
The pass drops what is left, however it ended. A value is here as long as one of a host that is
safe waits in ``sharing``, and loses its right to be sent as one there (STD-15).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, ProviderId
from services.vcenter.config import VcenterConfig


class HeldKeys:
    """By host; of each at most what one message takes, the others are fetched."""

    def __init__(self, config: VcenterConfig) -> None:
        self._most = config.keys_at_once
        self._held: dict[NodeName, dict[CryptoKeyId, KeyMaterial]] = {}

    def hold(self, host: NodeName, key: CryptoKeyId, material: KeyMaterial) -> None:
        """Until the host's next pass, which the caller has asked for."""
        held = self._held.setdefault(host, {})
        if len(held) < self._most:
            held[key] = material

    def take(self, host: NodeName, keys: Collection[CryptoKeyId]) -> dict[CryptoKeyId, KeyMaterial]:
        """Those of ``keys`` that are here; they are not afterwards."""
        held = self._held.get(host)
        return {key: held.pop(key) for key in keys if key in held} if held else {}

    def withdraw(self, keys: Iterable[CryptoKeyId]) -> None:
        """Nobody should have these any more."""
        for key in keys:
            for held in self._held.values():
                held.pop(key, None)

    def withdraw_all_of(self, provider: ProviderId) -> None:
        """As ``withdraw``, for all keys of a provider that was deleted."""
        for held in self._held.values():
            for key in [key for key in held if key.provider_id == provider]:
                del held[key]

    def drop(self, host: NodeName) -> None:
        """Its pass is over, or the host left the inventory."""
        self._held.pop(host, None)
