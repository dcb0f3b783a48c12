"""What a provider hands back; both hold key values and live as long as one push."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KeyUnavailableReason


@dataclass(frozen=True)
class CreatedKey:
    """A key just made, with its value for the host in charge."""

    key_id: KeyId
    material: KeyMaterial


@dataclass(frozen=True)
class FetchedKeys:
    """Each id asked is in one of the two."""

    material: Mapping[KeyId, KeyMaterial]
    missing: Mapping[KeyId, KeyUnavailableReason]
