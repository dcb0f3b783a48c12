"""A guest's blocks say what they are, and nothing else passes for one."""

import pytest

from protocol.guest import (
    BLOCK_SIZE,
    challenge_digest,
    guest_block,
    guest_seed,
    read_guest_block,
)


def test_a_block_tells_seed_and_generation() -> None:
    seed = guest_seed(b"only the questioner knows")
    block = guest_block(seed, 7, 3)
    assert len(block) == BLOCK_SIZE
    assert read_guest_block(block, 7) == (seed, 3)


def test_another_place_generation_or_marker_gives_another_block() -> None:
    seed = guest_seed(b"m")
    one = guest_block(seed, 1, 0)
    assert one not in (
        guest_block(seed, 2, 0),
        guest_block(seed, 1, 1),
        guest_block(guest_seed(b"n"), 1, 0),
    )


@pytest.mark.parametrize("at", [0, 8, 45, 60, 4095])
def test_one_flipped_bit_is_seen(at: int) -> None:
    block = bytearray(guest_block(guest_seed(b"m"), 1, 0))
    block[at] ^= 1
    with pytest.raises(ValueError, match="block 1"):
        read_guest_block(bytes(block), 1)


def test_a_block_at_another_number_or_cut_short_is_refused() -> None:
    block = guest_block(guest_seed(b"m"), 1, 0)
    with pytest.raises(ValueError, match="block 2"):
        read_guest_block(block, 2)
    with pytest.raises(ValueError, match="block 1"):
        read_guest_block(block[:-1], 1)


def test_the_digest_depends_on_nonce_order_and_content() -> None:
    a, b = guest_block(guest_seed(b"m"), 0, 0), guest_block(guest_seed(b"m"), 1, 0)
    base = challenge_digest(b"n", [a, b])
    assert base == challenge_digest(b"n", [a, b])
    assert base not in (
        challenge_digest(b"o", [a, b]),
        challenge_digest(b"n", [b, a]),
        challenge_digest(b"n", [a]),
    )
