"""The file ``<vm>-SnapshotN.vmem``: the memory of a VM when a snapshot was created. Pure.

For an encrypted VM it is AES-256-GCM under the VM's home DEK, which a shallow recrypt does not
change; for a VM in clear it is in clear, with its SHA-256. Both are bound to the VM, the snapshot
and the file's number. A file of another VM or snapshot, or an altered or truncated one, does not
open, nor does one in clear where the home is encrypted.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from services.runtime.ports import Rng

SUFFIX: Final = ".vmem"
_SEALED: Final = b"KSVMEM1S"
_CLEAR: Final = b"KSVMEM1C"
_DIGEST: Final = 32


def vmem_file(vm: VmName, number: int) -> str:
    """The name of the file that holds the memory of that number."""
    return f"{vm}-Snapshot{number}{SUFFIX}"


def pack_vmem(
    vm: VmName, snapshot: str, number: int, memory: bytes, home: KeyMaterial | None, rng: Rng
) -> bytes:
    """The file with this memory; ``home`` is None on a VM in clear."""
    bound = _aad(vm, snapshot, number)
    if home is None:
        return _CLEAR + hashlib.sha256(bound + memory).digest() + memory
    nonce = rng.token(NONCE_SIZE)
    return _SEALED + nonce + AESGCM(home.reveal()).encrypt(nonce, memory, bound)


def unpack_vmem(
    vm: VmName, snapshot: str, number: int, data: bytes, home: KeyMaterial | None
) -> bytes:
    """The memory in the file; ``CryptographicFailure`` for every other file."""
    bound, file = _aad(vm, snapshot, number), vmem_file(vm, number)
    magic = _CLEAR if home is None else _SEALED
    if not data.startswith(magic):
        raise CryptographicFailure(f"{file} does not hold the memory of {vm}")
    rest = data[len(magic) :]
    if home is None:
        digest, memory = rest[:_DIGEST], rest[_DIGEST:]
        if digest != hashlib.sha256(bound + memory).digest():
            raise CryptographicFailure(f"{file} is not as it was written")
        return memory
    nonce, box = rest[:NONCE_SIZE], rest[NONCE_SIZE:]
    try:
        return AESGCM(home.reveal()).decrypt(nonce, box, bound)
    except (InvalidTag, ValueError):
        raise CryptographicFailure(f"{file} does not open") from None


def _aad(vm: VmName, snapshot: str, number: int) -> bytes:
    return f"keystead vmem|{vm}|{snapshot}|{number}|".encode()
