"""The protocol of a provider whose key servers vCenter asks itself, and what it hands back.

Only types whose ``Capability`` names vCenter as maker and bringer of keys have such an object.
``CreatedKey`` and ``FetchedKeys`` hold key values and live as long as one delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.errors import ProductError, WrongKeyLifecycleState
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyUnavailableReason


@dataclass(frozen=True)
class CreatedKey:
    """A key just made, with its value for the host in charge."""

    key_id: KeyId
    material: KeyMaterial


@dataclass(frozen=True)
class FetchedKeys:
    """Each id asked is in one of the two: its value, or the reason why it cannot be had."""

    material: Mapping[KeyId, KeyMaterial]
    missing: Mapping[KeyId, KeyUnavailableReason]


def reason_of(error: ProductError) -> KeyUnavailableReason:
    """What is said of a key that cannot be made when its server answers with this error (STD-20).

    Such a server is as good as one that cannot be used: the product has no other reason for it,
    and its provider is there, so it is not invalid.
    """
    if isinstance(error, WrongKeyLifecycleState):
        return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
    return KeyUnavailableReason.CLUSTER_UNREACHABLE


VIRTUAL_MACHINE: Final = "Virtual Machine"
ESXI_SERVER: Final = "ESXi Server"


@dataclass(frozen=True)
class KeyUse:
    """What a new key is for, as key servers are told: one of the two above, and which."""

    component: str
    name: str


class KeyProvider(Protocol):
    """What vCenter asks of such a provider."""

    async def create_key(self, operation_id: str, use: KeyUse | None = None) -> CreatedKey:
        """A new, active key; the same one at each repeat of ``operation_id``, unless its server is
        asked by KMIP, which has no such ids.

        ``KeyProviderUnreachable`` when no server of it answers, else what a server answered.
        """
        ...

    async def generate_key(self, operation_id: str) -> KeyId:
        """A new key that is not used yet: Pre-Active; the same one at each repeat.

        Raises as ``create_key``.
        """
        ...

    async def make_key(self, operation_id: str) -> KeyId:
        """A new, active key whose value stays at its server; the same one at each repeat.

        Raises as ``create_key``.
        """
        ...

    async def grant_key(self, key_id: KeyId, scope: str) -> None:
        """Let the clients of another scope of the key server get this key; no change when they may.

        Raises as ``create_key``.
        """
        ...

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        """Values of up to 256 keys, for one delivery, and why the others cannot be had.

        Each key is judged on its own. ``KeyProviderUnreachable`` when no server answers.
        """
        ...

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        """Ask every server one harmless question; versions of those that answered, by name."""
        ...

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        """Why each key is not available, None when it is (STD-20); never raises for lack of it."""
        ...

    def retire(self) -> None:
        """The provider was deleted, or has other servers.

        No further server is asked, calls that are under way end with ``KeyProviderUnreachable``
        when the server of the moment has answered, and no contact is noted any more.
        """
        ...
