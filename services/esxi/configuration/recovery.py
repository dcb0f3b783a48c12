"""The recovery key: 96 decimal digits that open the configuration without the TPM [REC-01].

The digits derive a key that unwraps the config key. They are kept inside the encrypted
configuration only, so that ``recovery list`` can show them.
"""

from __future__ import annotations

import re
import uuid
from typing import Final

import msgspec

from protocol.crypto.derive import derive_key
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.secret import KeyMaterial
from services.runtime.ports import Rng

GROUPS: Final = 16
_FORM: Final = re.compile(rf"^\d{{6}}(-\d{{6}}){{{GROUPS - 1}}}$", re.ASCII)
_ID: Final = re.compile(r"^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$")


class RecoveryKey(msgspec.Struct, frozen=True):
    """``recovery_id`` is a UUID in braces; ``digits`` the text of 16 groups (REC-01)."""

    recovery_id: str
    digits: KeyMaterial

    def text(self) -> str:
        """The digits for the console: shown to an administrator, never logged."""
        return self.digits.reveal().decode("ascii")


def new_recovery_key(rng: Rng, recovery_id: str = "") -> RecoveryKey:
    """A fresh key; ``recovery_id`` (braces, upper case) is drawn when not given."""
    if not recovery_id:
        recovery_id = "{" + str(uuid.UUID(bytes=rng.token(16), version=4)).upper() + "}"
    groups = []
    for _ in range(GROUPS):
        # A number below a million from 64 bits: the bias is below 2**-44.
        groups.append(f"{int.from_bytes(rng.token(8), 'big') % 1_000_000:06d}")
    return RecoveryKey(recovery_id, KeyMaterial("-".join(groups).encode("ascii")))


def parse_digits(text: str) -> KeyMaterial | None:
    """The digits as typed at the boot loader, or None when they are malformed."""
    return KeyMaterial(text.encode("ascii")) if _FORM.match(text) else None


def canonical_id(text: str) -> str | None:
    """``text`` as a recovery id (braces optional, any case), or None when it is no UUID."""
    bare = text.strip("{}").upper()
    return "{" + bare + "}" if _ID.match("{" + bare + "}") else None


def wrap_config_key(key: RecoveryKey, config_key: KeyMaterial, rng: Rng) -> bytes:
    """The config key under the digits, bound to the recovery id. It is stored in clear on disk."""
    return wrap(
        _derive_kek(key.digits, key.recovery_id),
        config_key,
        key.recovery_id.encode(),
        rng.token(NONCE_SIZE),
    )


def unwrap_config_key(digits: KeyMaterial, recovery_id: str, wrapped: bytes) -> KeyMaterial:
    """The config key; ``CryptographicFailure`` for digits that are not in force."""
    return unwrap(_derive_kek(digits, recovery_id), wrapped, recovery_id.encode())


def _derive_kek(digits: KeyMaterial, recovery_id: str) -> KeyMaterial:
    return derive_key(digits, salt=recovery_id.encode(), info=b"keystead recovery key")
