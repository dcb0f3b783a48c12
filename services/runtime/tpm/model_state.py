"""What the model keeps in NV, as values; changes give a new state."""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.tpm.structures import TpmInfo

CAPACITY: Final = 68 * 2048
"""Bytes that all NV indices hold together, about what libtpms has room for."""
MAX_TRIES: Final = 3


class NvIndex(msgspec.Struct, frozen=True):
    """One index; ``counter`` marks a counter (8 bytes, big-endian)."""

    index: int
    data: bytes
    counter: bool = False


class ModelState(msgspec.Struct, frozen=True):
    """Permanent state. ``clock`` is in ms, one for each command; ``orderly`` tells whether the
    last power-off came after TPM2_Shutdown; ``top`` is the highest value of a counter that is
    gone: a new one begins above it, so that a number cannot come again. ``occupied``: another key
    lies in the place of the storage root key."""

    endorsement_seed: bytes
    owner_seed: bytes
    srk: bool = False
    occupied: bool = False
    resets: int = 0
    clock: int = 0
    orderly: bool = True
    safe: bool = True
    tries: int = 0
    top: int = 0
    indices: tuple[NvIndex, ...] = ()

    def build_info(self, backend: str) -> TpmInfo:
        """What a TPM that works says of itself."""
        return TpmInfo(
            backend=backend,
            failed=False,
            reset_count=self.resets,
            restart_count=0,
            clock=self.clock,
            safe=self.safe,
            lockout_counter=self.tries,
            max_tries=MAX_TRIES,
            lockout=self.tries >= MAX_TRIES,
        )

    def find(self, index: int) -> NvIndex | None:
        """The NV index; None when it is not defined."""
        return next((entry for entry in self.indices if entry.index == index), None)

    def with_index(self, entry: NvIndex) -> ModelState:
        """``entry`` defined, or in place of the one with its number."""
        others = (other for other in self.indices if other.index != entry.index)
        return msgspec.structs.replace(self, indices=(*others, entry))

    def room_for(self, entry: NvIndex) -> bool:
        """Whether NV has room for this index, in place of one of the same number."""
        used = sum(len(other.data) for other in self.indices if other.index != entry.index)
        return used + len(entry.data) <= CAPACITY

    def after_startup(self) -> ModelState:
        """After Startup(CLEAR)."""
        return msgspec.structs.replace(
            self, resets=self.resets + 1, safe=self.safe and self.orderly, orderly=False
        )

    def after_clear(self, owner_seed: bytes) -> ModelState:
        """After TPM2_Clear: endorsement keys stay, everything of the owner is gone."""
        top = max((self.top, *map(counter_value, self.indices)))
        return ModelState(self.endorsement_seed, owner_seed, orderly=self.orderly, top=top)


def counter_value(entry: NvIndex) -> int:
    """Value of a counter; 0 for another index."""
    return int.from_bytes(entry.data, "big") if entry.counter else 0


def encode_state(state: ModelState) -> bytes:
    """The state as bytes for the NV image; ``decode_state`` reads them."""
    return msgspec.msgpack.encode(state)


def decode_state(image: bytes) -> ModelState | None:
    """The state; None when the image is damaged."""
    try:
        return msgspec.msgpack.decode(image, type=ModelState)
    except msgspec.DecodeError:
        return None


def encode_memory(state: ModelState, pcrs: dict[int, bytes]) -> bytes:
    """What a TPM has in memory, as bytes; ``decode_memory`` reads them."""
    return msgspec.msgpack.encode((state, pcrs))


def decode_memory(data: bytes) -> tuple[ModelState, dict[int, bytes]] | None:
    """What a TPM with power had in memory: its state, the clock in it ahead of NV's, and its PCRs
    by number; None when it is damaged."""
    try:
        return msgspec.msgpack.decode(data, type=tuple[ModelState, dict[int, bytes]])
    except msgspec.DecodeError:
        return None
