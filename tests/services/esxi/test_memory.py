"""The memory of a guest, and the parts of a stream that it travels in."""

from __future__ import annotations

import msgspec
import pytest

from protocol.crypto.stream import StreamCipher
from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from services.esxi.vms.guest import PAGES, GuestMemory, Ram, pack_memory, unpack_memory


def test_a_damaged_page_is_noticed() -> None:
    ram = Ram(b"s" * 32, secrecy=False)
    for _ in range(PAGES):
        ram.write()
    memory = GuestMemory(pages=ram.pages, next_block=3, writes=ram.writes)
    assert Ram.thaw(unpack_memory(pack_memory(memory)), secrecy=False).run == ram.run
    wrong = msgspec.structs.replace(memory, pages=(*memory.pages[:-1], b"x" + memory.pages[-1][1:]))
    with pytest.raises(ProductError, match="damaged"):
        Ram.thaw(wrong, secrecy=False)


def test_a_part_is_never_sealed_twice() -> None:
    cipher = StreamCipher(KeyMaterial(b"k" * 32), b"8 bytes.")
    cipher.seal_part(0, b"x", b"")
    with pytest.raises(ValueError, match="sealed already"):
        cipher.seal_part(0, b"y", b"")
