"""What each kind of key provider means for those who watch a lab: one table for chaos and lab.

vCenter and hosts have tables of their own (``providers/capabilities.py`` of each), and so has the
oracle (``chaos/oracle/facts.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocol.terms import ManagementType


@dataclass(frozen=True)
class ProviderKind:
    """One kind of key provider.

    ``word``: its name in Lab files and experiments. ``value_from``: where a host gets the value of
    a key. ``derived``: hosts derive keys from a key derivation key, of which vCenter exports a
    backup. ``attested``: hosts fetch keys once a Trust Authority has attested them.
    """

    word: str
    management_type: ManagementType
    value_from: str
    derived: bool = False
    attested: bool = False


STANDARD: Final = ProviderKind("standard", ManagementType.VCENTER, "key server")
_KINDS: Final = (
    STANDARD,
    ProviderKind(
        "trusted",
        ManagementType.TRUST_AUTHORITY,
        "unwrapped by Key Provider Services",
        attested=True,
    ),
    ProviderKind("native", ManagementType.NATIVE_PROVIDER, "derived by hosts", derived=True),
)
KIND_BY_WORD: Final[Mapping[str, ProviderKind]] = {kind.word: kind for kind in _KINDS}
_BY_TYPE: Final[Mapping[str, ProviderKind]] = {kind.management_type: kind for kind in _KINDS}


def kind_of(management_type: str) -> ProviderKind:
    """The kind of a provider of that management type; ``STANDARD`` for an unknown type."""
    return _BY_TYPE.get(management_type, STANDARD)
