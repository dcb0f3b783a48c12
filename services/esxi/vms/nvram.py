"""The file ``<vm>.nvram``: the state of a VM's virtual TPM, under the VM's home DEK. Pure.

AES-256-GCM, bound to the VM, to the vTPM (its endorsement key) and to the number of the save, which
precedes it in clear. A file of another VM, of a removed vTPM, or with another number does not open
(VTPM-01).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from services.runtime.ports import Rng
from services.runtime.virtual_tpm import VirtualTpmState

_MAGIC: Final = b"KSNVRAM1"
_NUMBER: Final = 8
_HEAD: Final = len(_MAGIC) + _NUMBER


def nvram_file(vm: VmName, serial: int = 1) -> str:
    """The name of the file that holds the state of that VM's vTPM."""
    return f"{vm}.nvram" if serial == 1 else f"{vm}-{serial}.nvram"


def encrypt_nvram(
    vm: VmName, ek: bytes, state: VirtualTpmState, number: int, home: KeyMaterial, rng: Rng
) -> bytes:
    """The file with this state and save ``number``. A TPM with power loses it: only NV is kept."""
    nonce = rng.token(NONCE_SIZE)
    box = AESGCM(home.reveal()).encrypt(nonce, state.nv, _aad(vm, ek, number))
    return _MAGIC + number.to_bytes(_NUMBER, "big") + nonce + box


def decrypt_nvram(
    vm: VmName, ek: bytes, data: bytes, home: KeyMaterial
) -> tuple[VirtualTpmState, int]:
    """The state, without power, and the number of its save.

    ``CryptographicFailure`` for a file of another VM, vTPM or key, or an altered or truncated one.
    """
    if not data.startswith(_MAGIC) or len(data) < _HEAD + NONCE_SIZE:
        raise CryptographicFailure(f"{nvram_file(vm)} holds no state of a virtual TPM")
    number = int.from_bytes(data[len(_MAGIC) : _HEAD], "big")
    nonce, box = data[_HEAD : _HEAD + NONCE_SIZE], data[_HEAD + NONCE_SIZE :]
    try:
        nv = AESGCM(home.reveal()).decrypt(nonce, box, _aad(vm, ek, number))
    except InvalidTag:
        raise CryptographicFailure(f"{nvram_file(vm)} does not open") from None
    return VirtualTpmState(nv), number


def _aad(vm: VmName, ek: bytes, number: int) -> bytes:
    return b"|".join((b"keystead vtpm", vm.encode(), str(number).encode(), ek))
