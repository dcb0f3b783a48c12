"""A lie: a host without the key says that the VM runs, and answers for its guest from memory."""

from __future__ import annotations

from typing import Any

from protocol.errors import EncryptionKeyRequired
from protocol.guest import challenge_digest, guest_block, guest_seed, read_guest_block
from protocol.messages.host import GuestAnswer
from services.esxi.vms import power
from services.esxi.vms.guest import RunningGuest
from tests.mutations.bugs.planting import plant

_disks: dict[str, dict[int, bytes]] = {}


class _Actor:
    """Knows what the guest wrote, and has no disk."""

    def __init__(self, vm: str) -> None:
        self.fault, self._blocks = "", _disks.setdefault(vm, {})

    async def challenge(self, nonce: bytes, blocks: Any, choices: Any) -> GuestAnswer:
        contents = [self._blocks[index] for index in blocks]
        seed, generation = read_guest_block(contents[0], blocks[0])
        self._blocks[blocks[0]] = guest_block(seed, blocks[0], generation + 1)
        return GuestAnswer(
            digest=challenge_digest(nonce, contents),
            rewritten=blocks[0],
            generation=generation + 1,
        )

    async def work(self) -> None:
        """Nothing is done."""


def _heard(original: Any) -> Any:
    async def fill(self: Any, marker: bytes) -> Any:
        seed = guest_seed(marker)
        _disks[self.config.vm] = {
            index: guest_block(seed, index, 0) for index in range(self.config.disks[0].blocks)
        }
        return await original(self, marker)

    return fill


def _watched(original: Any) -> Any:
    async def put(self: Any, plain: Any) -> None:
        await original(self, plain)
        known = _disks.get(self.config.vm, {})
        known.update({index: block for index, block in plain.items() if index in known})

    return put


def _played(original: Any) -> Any:
    async def start_guest(host: Any, vm: Any, *, ask: bool) -> Any:
        try:
            return await original(host, vm, ask=ask)
        except EncryptionKeyRequired:
            if vm.name not in _disks:
                raise
            return _Actor(vm.name)

    return start_guest


plant(RunningGuest, "fill", _heard)
plant(RunningGuest, "_put", _watched)
plant(power, "_start_guest", _played)
