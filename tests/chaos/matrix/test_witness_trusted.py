"""Witnesses of keys that a Trust Authority gives: made of messages, good ones and bad ones."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import pytest

from chaos.conversation import Said, fingerprint
from chaos.matrix.judging.account import Account, EventCourse
from chaos.matrix.judging.witness import witnesses
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId

HOST, VC = NodeName("esxi-001"), NodeName("vcenter")
AS, KPS = NodeName("attestation-1"), NodeName("keyprovider-1")
WRAPPED = b"ciphertext of a key"
KEY = CryptoKeyId(KeyId(urlsafe_b64encode(WRAPPED).rstrip(b"=").decode()), ProviderId("P"))


def said(t: float, src: str, dst: str, kind: str, name: str, id: int, **more: Any) -> Said:
    return Said(t=t, src=src, dst=dst, kind=kind, name=name, id=id, **more)


def attests(t: float, attested: bool = True) -> list[Said]:
    return [
        said(t, HOST, AS, "request", "FinishAttestation", 7),
        said(t, AS, HOST, "reply", "AttestationReport", 7, body={"attested": attested}),
    ]


def unwraps(t: float, ciphertext: bytes = WRAPPED, kind: str = "reply") -> list[Said]:
    body = {"ciphertext": fingerprint(ciphertext)}
    boxes = ("fp",) if kind == "reply" else ()
    return [
        said(t, HOST, KPS, "request", "DecryptWrappedKey", 8, body=body),
        said(t, KPS, HOST, kind, "WrappedKeyDecrypted", 8, boxes=boxes),
    ]


def makes(t: float, kind: str = "reply") -> list[Said]:
    boxes = ("fp",) if kind == "reply" else ()
    return [
        said(t, HOST, KPS, "request", "GenerateWrappedKey", 9),
        said(t, KPS, HOST, kind, "WrappedKeyGenerated", 9, boxes=boxes),
    ]


def pushed(t: float) -> list[Said]:
    return [said(t, VC, HOST, "request", "AddKeys", 3, boxes=("fp",))]


def holds(reason: int, heard: list[Said], letter: str = "OK", **course: Any) -> bool:
    about = Account(
        course=EventCourse(host=HOST, asked=30.0, ended=40.0, keys=(KEY,), **course),
        letter=letter,
        said=tuple(heard),
        asked=(),
        records=(),
        servers=frozenset(),
        trust=frozenset({AS, KPS}),
    )
    (found,) = witnesses([reason], about)
    assert found.reason == reason and found.seen
    return found.held


@pytest.mark.parametrize("reason", [40, 41, 46])
def test_a_key_is_unwrapped_for_the_host_that_asks_and_comes_from_nowhere_else(reason: int) -> None:
    assert holds(reason, unwraps(35))
    for heard in (
        [],
        pushed(35),
        [*unwraps(35), *pushed(36)],
        unwraps(35, b"of another key"),
        unwraps(35, kind="error"),
        unwraps(45),
    ):
        assert not holds(reason, heard)


@pytest.mark.parametrize("reason", [40, 46])
def test_in_a_boot_the_host_attests_before_it_is_given_a_key(reason: int) -> None:
    booted: dict[str, Any] = {"power_on": 10.0}
    assert holds(reason, [*attests(12), *unwraps(13)], **booted)
    assert not holds(reason, unwraps(13), **booted)
    assert not holds(reason, [*unwraps(11), *attests(12)], **booted)
    assert not holds(reason, [*attests(12, attested=False), *unwraps(13)], **booted)


def test_a_new_key_is_made_for_the_host_that_asks() -> None:
    assert holds(40, makes(35), makes_key=True)
    for heard in ([], unwraps(35), makes(35, "error"), [*makes(35), *pushed(36)], makes(45)):
        assert not holds(40, heard, makes_key=True)


@pytest.mark.parametrize("reason", [44, 48, 53])
def test_who_is_refused_has_asked_and_was_given_nothing(reason: int) -> None:
    assert holds(reason, unwraps(35, kind="error"), "LK")
    assert not holds(reason, [], "LK")
    assert not holds(reason, unwraps(35), "NO")


@pytest.mark.parametrize("reason", [50, 54])
def test_a_host_that_is_refused_was_judged(reason: int) -> None:
    assert holds(reason, attests(12, attested=False), "LK")
    assert not holds(reason, attests(12), "LK")
    assert not holds(reason, [], "NO")
    assert not holds(reason, [*attests(12, attested=False), *unwraps(13)], "LK")


def test_a_host_with_the_key_in_its_cache_asks_no_service() -> None:
    assert holds(2, [])
    assert not holds(2, unwraps(35))
    assert not holds(2, attests(35))


def test_a_new_host_that_nobody_knows_is_neither_attested_nor_given_a_key() -> None:
    new: dict[str, Any] = {"known": False}
    assert holds(42, attests(35, attested=False), "PT", **new)
    for heard in (attests(35), makes(35), unwraps(35), pushed(35)):
        assert not holds(42, heard, "PT", **new)
    assert holds(45, [*attests(33), *makes(35, "error")], "PT", **new)
    for heard in (makes(35), unwraps(35), pushed(35)):
        assert not holds(45, heard, "PT", **new)


def test_a_vm_that_runs_on_while_nobody_attests_its_host_is_given_nothing() -> None:
    assert holds(47, [])
    assert holds(47, attests(35, attested=False))
    assert not holds(47, unwraps(35))


def test_a_key_that_is_kept_came_before_and_who_is_refused_for_it_tried_to_attest() -> None:
    assert holds(49, [])
    for heard in (unwraps(35), pushed(35)):
        assert not holds(49, heard)
    assert holds(49, attests(35, attested=False), "NO")
    assert not holds(49, [], "NO")
    assert not holds(49, attests(35), "NO")
