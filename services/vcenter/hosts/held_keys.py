"""Values of new keys on their way to the other hosts of a cluster, from their making to their
sending, and no longer (STD-15).

``sharing`` puts them here and sends them when their wait is over. A pass over the host that comes
earlier brings them, and asks key servers for those only that are not here. Keys for a host that
is not safe yet are for such a pass alone, which makes it safe; it drops what it did not take.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, ProviderId


@dataclass
class _Held:
    """Of one host. ``shared``: ``sharing`` sends what no pass takes. ``before``: keys that were
    here when the pass began."""

    values: dict[CryptoKeyId, KeyMaterial] = field(default_factory=dict)
    shared: bool = False
    before: tuple[CryptoKeyId, ...] = ()


class HeldKeys:
    """By host."""

    def __init__(self) -> None:
        self._held: dict[NodeName, _Held] = {}

    def count(self, host: NodeName) -> int:
        """How many keys are here for the host."""
        held = self._held.get(host)
        return 0 if held is None else len(held.values)

    def hold(
        self, host: NodeName, key: CryptoKeyId, material: KeyMaterial, *, shared: bool
    ) -> None:
        """``shared``: the caller takes everything in a moment; else the host's next pass does,
        which the caller has asked for."""
        held = self._held.setdefault(host, _Held())
        held.values[key] = material
        held.shared |= shared

    def take(self, host: NodeName, keys: Collection[CryptoKeyId]) -> dict[CryptoKeyId, KeyMaterial]:
        """Those of ``keys`` that are here; they are not afterwards."""
        held = self._held.get(host)
        if held is None or not held.values:
            return {}
        return {key: held.values.pop(key) for key in keys if key in held.values}

    def take_all(self, host: NodeName) -> dict[CryptoKeyId, KeyMaterial]:
        """Everything that is here for the host; it is not afterwards."""
        held = self._held.pop(host, None)
        return {} if held is None else held.values

    def withdraw(self, keys: Iterable[CryptoKeyId]) -> None:
        """Nobody should have these any more."""
        for key in keys:
            for held in self._held.values():
                held.values.pop(key, None)

    def withdraw_all_of(self, provider: ProviderId) -> None:
        """As ``withdraw``, for all keys of a provider that was deleted."""
        for held in self._held.values():
            for key in [key for key in held.values if key.provider_id == provider]:
                del held.values[key]

    def pass_begins(self, host: NodeName) -> None:
        """What comes from now on is for the next pass, if this one does not take it."""
        held = self._held.get(host)
        if held is not None:
            held.before = tuple(held.values)

    def pass_ends(self, host: NodeName) -> None:
        """Keys that only a pass brings have had their chance."""
        held = self._held.get(host)
        if held is None or held.shared:
            return
        for key in held.before:
            held.values.pop(key, None)
        if not held.values:
            del self._held[host]
