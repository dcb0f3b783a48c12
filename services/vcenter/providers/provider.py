"""The protocol of a provider whose key servers vCenter asks itself, and its results.

Only types whose ``Capability`` has vCenter as maker and bringer of keys have such an object.
``CreatedKey`` and ``FetchedKeys`` hold key values and live as long as one delivery.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.errors import (
    ProductError,
    WrappingKeyMissing,
    WrappingKeyNotActive,
    WrongKeyLifecycleState,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyType, KeyUnavailableReason

UNUSABLE_AT_SERVER: Final = (
    KeyUnavailableReason.MISSING_IN_KMS,
    KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED,
    KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS,
    KeyUnavailableReason.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED,
)
"""Reasons by which a key server that answers does not give a key, or its wrapping key."""


@dataclass(frozen=True)
class CreatedKey:
    """A key just created, with its value for the host in charge."""

    key_id: KeyId
    material: KeyMaterial


@dataclass(frozen=True)
class FetchedKeys:
    """Each requested id is in one of the two: its value, or the reason why it is not available."""

    material: Mapping[KeyId, KeyMaterial]
    missing: Mapping[KeyId, KeyUnavailableReason]


def reason_of(error: ProductError) -> KeyUnavailableReason:
    """The reason for a key that cannot be created when its server answers with this error (STD-20).

    Such a server counts as unusable: the product has no other reason for it, and its provider
    exists, so it is not invalid.
    """
    if isinstance(error, WrongKeyLifecycleState):
        return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
    if isinstance(error, WrappingKeyMissing):
        return KeyUnavailableReason.WRAPPING_KEY_MISSING_IN_KMS
    if isinstance(error, WrappingKeyNotActive):
        return KeyUnavailableReason.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED
    return KeyUnavailableReason.CLUSTER_UNREACHABLE


VIRTUAL_MACHINE: Final = "Virtual Machine"
ESXI_SERVER: Final = "ESXi Server"


@dataclass(frozen=True)
class KeyUse:
    """The purpose of a new key, as key servers learn it: one of the two above, and its name."""

    component: str
    name: str


class KeyProvider(Protocol):
    """The requests of vCenter to such a provider."""

    async def create_key(self, operation_id: str, use: KeyUse | None = None) -> CreatedKey:
        """A new, active key. Repeats of ``operation_id`` return the same key, except at a KMIP
        server, which has no such ids.

        ``KeyProviderUnreachable`` when no server of it answers, otherwise the server's error.
        """
        ...

    async def generate_key(self, operation_id: str, key_type: KeyType | None = None) -> KeyId:
        """A new, unused key: Pre-Active; repeats return the same key. ``key_type``: None for what
        the provider makes by default.

        Raises as ``create_key``; ``NotAvailable`` for a type that it does not make.
        """
        ...

    async def make_key(self, operation_id: str) -> KeyId:
        """A new, active key whose value stays at its server; repeats return the same key.

        Raises as ``create_key``.
        """
        ...

    async def grant_key(self, key_id: KeyId, scope: str) -> None:
        """Let the clients of another scope of the key server get this key; no change when they may.

        Raises as ``create_key``.
        """
        ...

    async def fetch_keys(self, key_ids: Sequence[KeyId]) -> FetchedKeys:
        """Values of up to 256 keys, for one delivery, and the reasons for the others.

        Keys are independent. ``KeyProviderUnreachable`` when no server answers.
        """
        ...

    async def rotate(self) -> None:
        """Replace a wrapping key whose interval is over (KEY-08); raises as ``create_key``."""
        ...

    async def health(self) -> Mapping[str, tuple[str, ...]]:
        """Send every server one harmless request; returns the versions of those that answered, by
        name."""
        ...

    async def status(self, key_ids: Sequence[KeyId]) -> Mapping[KeyId, KeyUnavailableReason | None]:
        """Why each key is not available, None when it is (STD-20); never raises for a missing
        key."""
        ...

    def retire(self) -> None:
        """The provider was deleted, or has other servers.

        No further server is asked. Calls in progress end with ``KeyProviderUnreachable`` when the
        present server has answered, and contacts are not recorded any more.
        """
        ...
