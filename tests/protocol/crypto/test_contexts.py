"""Contexts under attack: replays, other orders, moved capsules, forks, lives that end, floods."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol.crypto import seal
from protocol.crypto.seal import (
    AGE_S,
    ANY_LIFE,
    BOXES,
    CAPSULE_SIZE,
    NONCE_SIZE,
    OF_ONE_SENDER,
    OVERHEAD,
    PEERS,
    Receiving,
    Sending,
)
from protocol.terms import NodeName

A, B, C = NodeName("a"), NodeName("b"), NodeName("c")
_PRIVATE = {name: X25519PrivateKey.generate() for name in (A, B, C)}
_PUBLIC = {name: private.public_key() for name, private in _PRIVATE.items()}
BOOT = 3
CLEAR, PLACE = b"key" * 11, b"place"


def sends(
    name: NodeName = A, boot: int = BOOT, monotonic: Callable[[], float] = lambda: 0.0
) -> Sending:
    return Sending(name, boot, _PUBLIC, monotonic)


def opens(name: NodeName = B) -> Receiving:
    return Receiving(name, _PRIVATE[name])


def capsule_of(box: bytes) -> bytes:
    return box[:CAPSULE_SIZE]


def nonce_of(box: bytes) -> bytes:
    return box[CAPSULE_SIZE : CAPSULE_SIZE + NONCE_SIZE]


@pytest.fixture
def decapsulations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The capsules that HPKE was asked to open, in order."""
    seen: list[bytes] = []
    real = seal._SUITE

    class Counting:
        encrypt = staticmethod(real.encrypt)

        @staticmethod
        def decrypt(capsule: bytes, private: X25519PrivateKey, info: bytes) -> bytes:
            seen.append(capsule)
            return real.decrypt(capsule, private, info)

    monkeypatch.setattr(seal, "_SUITE", Counting)
    return seen


def test_every_box_opens_alone_in_any_order_and_again(decapsulations: list[bytes]) -> None:
    """Loss, reordering and duplicates are the link's; what is a repeat, the bus port decides."""
    sender = sends()
    boxes = [sender.box(B, ANY_LIFE, b"%d" % n, b"place %d" % n) for n in range(40)]
    assert len({capsule_of(box) for box in boxes}) == 1
    order = [n for n in range(40) if n % 3] * 2
    random.Random(1).shuffle(order)
    receiver = opens()
    for n in order:
        assert receiver.clear(A, BOOT, ANY_LIFE, boxes[n], b"place %d" % n) == b"%d" % n
    assert len(decapsulations) == 1
    for n in (7, 0):  # a life that has seen none of them
        assert opens().clear(A, BOOT, ANY_LIFE, boxes[n], b"place %d" % n) == b"%d" % n


def test_a_box_is_as_long_whether_its_context_is_new_or_old() -> None:
    sender = sends()
    sizes = {len(sender.box(B, ANY_LIFE, CLEAR, PLACE)) for _ in range(3)}
    assert sizes == {len(CLEAR) + OVERHEAD}


@pytest.mark.parametrize("met", [False, True], ids=["unknown context", "known context"])
@pytest.mark.parametrize(
    ("sender", "boot", "receiver", "life", "place"),
    [
        (C, BOOT, B, ANY_LIFE, PLACE),
        (A, BOOT + 1, B, ANY_LIFE, PLACE),
        (A, BOOT, C, ANY_LIFE, PLACE),
        (A, BOOT, B, BOOT, PLACE),
        (A, BOOT, B, ANY_LIFE, b"another place"),
    ],
    ids=["sender", "boot", "receiver", "life", "place"],
)
def test_a_box_moved_elsewhere_stays_shut(
    sender: NodeName, boot: int, receiver: NodeName, life: int, place: bytes, met: bool
) -> None:
    box = sends().box(B, ANY_LIFE, CLEAR, PLACE)
    attacked = Receiving(receiver, _PRIVATE[receiver])
    if met and receiver == B:
        assert attacked.clear(A, BOOT, ANY_LIFE, box, PLACE) == CLEAR
    for _ in range(2):
        with pytest.raises(InvalidTag):
            attacked.clear(sender, boot, life, box, place)


def test_a_reply_opens_in_the_life_that_asked_and_in_no_other() -> None:
    box = sends().box(B, 5, CLEAR, PLACE)
    assert opens().clear(A, BOOT, 5, box, PLACE) == CLEAR
    for life in (4, 6, ANY_LIFE):
        with pytest.raises(InvalidTag):
            opens().clear(A, BOOT, life, box, PLACE)


def test_a_capsule_of_one_box_before_the_rest_of_another_stays_shut() -> None:
    first, second = sends(), sends(boot=BOOT)
    one, other = first.box(B, ANY_LIFE, CLEAR, PLACE), second.box(B, ANY_LIFE, CLEAR, PLACE)
    receiver = opens()
    assert receiver.clear(A, BOOT, ANY_LIFE, one, PLACE) == CLEAR
    with pytest.raises(InvalidTag):
        receiver.clear(A, BOOT, ANY_LIFE, capsule_of(one) + other[CAPSULE_SIZE:], PLACE)


@pytest.mark.parametrize("size", [0, 1, CAPSULE_SIZE, OVERHEAD - 1, OVERHEAD, OVERHEAD + 9])
def test_bytes_that_are_no_box_stay_shut_and_are_not_remembered(size: int) -> None:
    receiver = opens()
    with pytest.raises((InvalidTag, ValueError)):
        receiver.clear(A, BOOT, ANY_LIFE, bytes(size), PLACE)
    assert not receiver._senders


def test_a_forged_capsule_is_not_remembered() -> None:
    """Of a context only that counts with which a box has opened."""
    box = sends().box(B, ANY_LIFE, CLEAR, PLACE)
    receiver = opens()
    for _ in range(50):
        with pytest.raises(InvalidTag):
            receiver.clear(A, BOOT, ANY_LIFE, box, b"forged")
    assert not receiver._senders


@pytest.mark.slow
def test_ten_thousand_contexts_of_one_peer_push_out_only_its_own(
    decapsulations: list[bytes],
) -> None:
    receiver = opens()
    honest = sends(C)
    receiver.clear(C, BOOT, ANY_LIFE, honest.box(B, ANY_LIFE, CLEAR, PLACE), PLACE)
    for boot in range(1, 10_001):
        box = sends(A, boot).box(B, ANY_LIFE, CLEAR, PLACE)
        assert receiver.clear(A, boot, ANY_LIFE, box, PLACE) == CLEAR
    assert len(receiver._senders[A]) == OF_ONE_SENDER
    before = len(decapsulations)
    receiver.clear(C, BOOT, ANY_LIFE, honest.box(B, ANY_LIFE, CLEAR, PLACE), PLACE)
    assert len(decapsulations) == before == 10_001


def test_a_peer_that_claims_life_after_life_gets_one_context_at_a_time() -> None:
    sender = sends()
    boxes = [sender.box(B, life, CLEAR, PLACE) for life in range(1, 200)]
    assert len({capsule_of(box) for box in boxes}) == 199
    assert len(sender._contexts) == 1
    kept = sender.box(B, ANY_LIFE, CLEAR, PLACE)
    sender.box(B, 200, CLEAR, PLACE)
    assert capsule_of(sender.box(B, ANY_LIFE, CLEAR, PLACE)) == capsule_of(kept)


def test_contexts_of_many_peers_are_bounded_in_both_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert PEERS >= 1000
    monkeypatch.setattr(seal, "PEERS", 8)
    names = [NodeName(f"n-{n}") for n in range(40)]
    sender = Sending(A, BOOT, dict.fromkeys(names, _PUBLIC[B]), lambda: 0.0)
    receiver = opens()
    for name in names:
        sender.box(name, ANY_LIFE, CLEAR, PLACE)
        box = sends(name).box(B, ANY_LIFE, CLEAR, PLACE)
        assert receiver.clear(name, BOOT, ANY_LIFE, box, PLACE) == CLEAR
    assert (len(sender._contexts), len(receiver._senders)) == (16, 8)


def test_a_context_ends_by_its_boxes_and_by_its_age() -> None:
    now = 100.0
    sender = sends(monotonic=lambda: now)
    first = capsule_of(sender.box(B, ANY_LIFE, CLEAR, PLACE))
    [context] = sender._contexts.values()
    context.left = 1
    assert BOXES <= 2**32
    assert capsule_of(sender.box(B, ANY_LIFE, CLEAR, PLACE)) == first
    second = capsule_of(sender.box(B, ANY_LIFE, CLEAR, PLACE))
    assert second != first
    now += AGE_S - 1
    assert capsule_of(sender.box(B, ANY_LIFE, CLEAR, PLACE)) == second
    now += 1
    assert capsule_of(sender.box(B, ANY_LIFE, CLEAR, PLACE)) != second


def test_no_nonce_and_no_key_is_used_twice() -> None:
    sender = sends()
    boxes = [sender.box(B, ANY_LIFE, CLEAR, PLACE) for _ in range(20_000)]
    assert len({nonce_of(box) for box in boxes}) == 20_000
    # The same boot once more, as after a machine was put back to an older state of its disk:
    again = sends().box(B, ANY_LIFE, CLEAR, PLACE)
    assert capsule_of(again) != capsule_of(boxes[0])


def test_a_fork_shares_a_key_and_no_nonce() -> None:
    """A process that was forked with contexts in it, as a snapshot of a simulation is."""
    text = """
import os
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from protocol.crypto.seal import CAPSULE_SIZE, Receiving, Sending
private = X25519PrivateKey.generate()
sender = Sending("a", 1, {"b": private.public_key()}, lambda: 0.0)
sender.box("b", 0, b"before", b"")
reads = []
for n in range(3):
    read, write = os.pipe()
    if not os.fork():
        os.write(write, sender.box("b", 0, b"child %d" % n, b""))
        os._exit(0)
    reads.append(read)
boxes = [os.read(read, 4096) for read in reads] + [sender.box("b", 0, b"parent", b"")]
assert len({box[:CAPSULE_SIZE] for box in boxes}) == 1
assert len({box[CAPSULE_SIZE : CAPSULE_SIZE + 12] for box in boxes}) == 4
receiver = Receiving("b", private)
print([receiver.clear("a", 1, 0, box, b"") for box in boxes])
"""
    done = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == "[b'child 0', b'child 1', b'child 2', b'parent']"


def test_a_nonce_used_twice_still_opens_no_other_box(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose snapshot runs twice may draw one twice; then equal boxes are seen as equal,
    and the difference of two others is not the difference of their clear forms (RFC 8452)."""
    sender = sends()
    monkeypatch.setattr("os.urandom", bytes)
    one, same, other = [
        sender.box(B, ANY_LIFE, clear, PLACE) for clear in (CLEAR, CLEAR, b"x" * 33)
    ]
    assert one == same
    difference = bytes(a ^ b for a, b in zip(one[-49:-16], other[-49:-16], strict=True))
    assert difference != bytes(a ^ b for a, b in zip(CLEAR, b"x" * 33, strict=True))


def test_who_has_no_known_key_is_sealed_nothing() -> None:
    with pytest.raises(KeyError):
        sends().box(NodeName("nobody"), ANY_LIFE, CLEAR, PLACE)
