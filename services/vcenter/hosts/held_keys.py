"""Values of new keys for the other hosts of a cluster, between their creation and their delivery
(STD-15).

``sharing`` puts them here and sends them after its wait. An earlier pass over the host delivers
them, and asks key servers only for other keys. Keys for a host that is not safe yet wait for the
pass that makes it safe; that pass drops the ones that it did not use.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, ProviderId


@dataclass
class _Held:
    """The keys for one host. ``shared``: ``sharing`` sends those that no pass takes. ``before``:
    keys that were here when the pass began."""

    values: dict[CryptoKeyId, KeyMaterial] = field(default_factory=dict)
    shared: bool = False
    before: tuple[CryptoKeyId, ...] = ()


class HeldKeys:
    """The held keys, by host."""

    def __init__(self) -> None:
        self._held: dict[NodeName, _Held] = {}

    def count(self, host: NodeName) -> int:
        """How many keys are held for the host."""
        held = self._held.get(host)
        return 0 if held is None else len(held.values)

    def hold(
        self, host: NodeName, key: CryptoKeyId, material: KeyMaterial, *, shared: bool
    ) -> None:
        """Hold a key. ``shared``: the caller takes everything in a moment; otherwise the host's
        next pass does, which the caller has requested."""
        held = self._held.setdefault(host, _Held())
        held.values[key] = material
        held.shared |= shared

    def take(self, host: NodeName, keys: Collection[CryptoKeyId]) -> dict[CryptoKeyId, KeyMaterial]:
        """Remove and return those of ``keys`` that are held."""
        held = self._held.get(host)
        if held is None or not held.values:
            return {}
        return {key: held.values.pop(key) for key in keys if key in held.values}

    def take_all(self, host: NodeName) -> dict[CryptoKeyId, KeyMaterial]:
        """Remove and return all keys that are held for the host."""
        held = self._held.pop(host, None)
        return {} if held is None else held.values

    def withdraw(self, keys: Iterable[CryptoKeyId]) -> None:
        """No host may get these keys any more."""
        for key in keys:
            for held in self._held.values():
                held.values.pop(key, None)

    def withdraw_all_of(self, provider: ProviderId) -> None:
        """As ``withdraw``, for all keys of a provider that was deleted."""
        for held in self._held.values():
            for key in [key for key in held.values if key.provider_id == provider]:
                del held.values[key]

    def pass_begins(self, host: NodeName) -> None:
        """Keys that arrive from now on are for the next pass, unless this one takes them."""
        held = self._held.get(host)
        if held is not None:
            held.before = tuple(held.values)

    def pass_ends(self, host: NodeName) -> None:
        """Drop keys for a pass that this one did not take."""
        held = self._held.get(host)
        if held is None or held.shared:
            return
        for key in held.before:
            held.values.pop(key, None)
        if not held.values:
            del self._held[host]
