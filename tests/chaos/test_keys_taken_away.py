"""Keys that are gone: which somebody took away on purpose, or was told of, and which are lost."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.checks.keys.acked_key_recoverable import acked_key_recoverable
from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

Row = tuple[str, str, dict[str, Any]]
STAGING: Row = (
    "state",
    "staging",
    {"providers": [{"name": "p", "servers": ["kms"]}, {"name": "q", "servers": ["other"]}]},
)
STRIKE = {"id": "hit", "keys": ["old"], "restores": ["kms"], "values": {"backup": ""}}
INJECT: Row = ("note", "inject", {"id": "hit"})
STRUCK: Row = ("fault", "kms.key_state", STRIKE)
CURING: Row = ("note", "ending", {"id": "hit", "cure": True})
RESTORED: Row = ("heal", "heal", {"id": "hit", "verified": True})
NOT_CURING: Row = ("note", "ending", {"id": "hit", "cure": False})
STAYS: Row = ("heal", "heal", {"id": "hit", "verified": False, "stays": True})
REFUSED: Row = ("heal", "heal", {"id": "hit", "verified": False, "seen": "KS-CHAOS-108: x"})
ADDED: Row = ("invoke", "provider.add", {"provider": "p", "servers": ["kms"]})
DELETED: Row = ("fault", "provider.delete", {"id": "del", "values": {"provider": "p"}})


BACKED_UP: tuple[Row, Row] = (
    ("invoke", "kms.backup", {"n": 1, "backup": "monday"}),
    ("ok", "kms.backup", {"n": 1, "servers": ["kms"]}),
)
PUT_BACK: tuple[Row, Row] = (
    ("invoke", "kms.restore", {"n": 2, "backup": "monday"}),
    ("ok", "kms.restore", {"n": 2, "servers": ["kms"], "keys": ["k1", "k2"]}),
)


def made(key: str, provider: str = "p") -> Row:
    return "ok", "key.create", {"key": key, "provider": provider}


def end(*available: str, asked: tuple[str, ...] = ("k1", "k2", "k3")) -> Row:
    return "state", "keys", {"asked": list(asked), "available": list(available)}


def judged(*rows: Row) -> Finding:
    return acked_key_recoverable(
        [
            Record(seq=n, t=float(n), node="", type=type, op=op, data=data)
            for n, (type, op, data) in enumerate((STAGING, *rows), start=1)
        ]
    )


def test_a_key_newer_than_the_backup_that_was_put_back_is_gone_as_told() -> None:
    found = judged(made("k1"), INJECT, STRUCK, made("k2"), CURING, made("k3"), RESTORED, end("k1"))
    assert found.result is CheckOutcome.PASS
    told = "2 gone as told: newer than a backup that was put back (SC-14)"
    assert found.text == f"all 1 acknowledged keys are available; {told}"


@pytest.mark.parametrize(
    ("rows", "lost", "at"),
    [
        # Acknowledged before the backup was taken, or after it was put back.
        ((made("k1"), INJECT, STRUCK, CURING, RESTORED, end()), "k1", 2),
        ((INJECT, STRUCK, CURING, RESTORED, made("k2"), end()), "k2", 6),
        # It was never put back: no cure, or one that was refused.
        ((INJECT, STRUCK, made("k2"), end()), "k2", 4),
        ((INJECT, STRUCK, made("k2"), NOT_CURING, STAYS, end()), "k2", 4),
        ((INJECT, STRUCK, made("k2"), CURING, REFUSED, end()), "k2", 4),
        # It lay on another key server.
        ((INJECT, STRUCK, made("k2", "q"), CURING, RESTORED, end()), "k2", 4),
        # The backup of an action had it, or came back before it, or was of another key server.
        ((made("k1"), *BACKED_UP, *PUT_BACK, end()), "k1", 2),
        ((*BACKED_UP, *PUT_BACK, made("k2"), end()), "k2", 6),
        ((*BACKED_UP, made("k2", "q"), *PUT_BACK, end()), "k2", 4),
        # It was refused, or taken and never put back.
        (
            (
                *BACKED_UP,
                made("k2"),
                PUT_BACK[0],
                ("fail", "kms.restore", {"n": 2, "error": "NotFound"}),
                end(),
            ),
            "k2",
            4,
        ),
        ((*BACKED_UP, made("k2"), end()), "k2", 4),
        # The provider is there again, or another one was deleted.
        (
            (made("k1"), DELETED, ("heal", "heal", {"id": "del", "verified": True}), end()),
            "k1",
            2,
        ),
        ((made("k1", "q"), DELETED, end()), "k1", 2),
        ((made("k1"), DELETED, ADDED, end()), "k1", 2),
    ],
)
def test_every_other_key_that_is_gone_is_lost(rows: tuple[Row, ...], lost: str, at: int) -> None:
    found = judged(*rows)
    assert (found.result, found.records) == (CheckOutcome.FAIL, (at,))
    assert found.text.startswith(f"1 of 1 lost (all): {lost}")


VCENTER_BACK: Row = ("ok", "vcenter.restore", {"vcenter": "vc", "gone": ["p"]})


def test_keys_of_a_provider_that_a_restored_vcenter_does_not_know_are_gone_as_told() -> None:
    found = judged(made("k1"), made("k2", "q"), VCENTER_BACK, end("k2"))
    told = "1 gone as told: of a deleted provider"
    assert found.text == f"all 1 acknowledged keys are available; {told}"
    lost = judged(made("k1"), made("k2", "q"), VCENTER_BACK, end("k1"))
    assert lost.result is CheckOutcome.FAIL and "1 of 2 lost (the last): k2" in lost.text


def test_one_that_is_lost_is_told_beside_those_that_are_gone_as_told() -> None:
    found = judged(made("k1"), INJECT, STRUCK, made("k2"), CURING, RESTORED, made("k3"), end())
    assert (found.result, found.records) == (CheckOutcome.FAIL, (2, 8))
    assert found.text.startswith("2 of 2 lost (all): k1, k3; 1 gone as told: newer than")


def test_a_backup_that_is_named_may_be_older_than_every_key() -> None:
    named: Row = ("fault", "kms.key_state", {**STRIKE, "values": {"backup": "monday"}})
    assert judged(made("k1"), INJECT, named, CURING, RESTORED, end()).result is CheckOutcome.UNKNOWN
    late = judged(INJECT, named, CURING, RESTORED, made("k2"), end())
    assert late.result is CheckOutcome.FAIL


def test_an_action_that_puts_a_backup_back_takes_the_keys_made_since() -> None:
    found = judged(made("k1"), *BACKED_UP, made("k2"), *PUT_BACK, end("k1"))
    assert found.result is CheckOutcome.PASS
    assert found.text.endswith("; 1 gone as told: newer than a backup that was put back (SC-14)")
    from_before = judged(made("k1"), *PUT_BACK, end())
    assert from_before.result is CheckOutcome.UNKNOWN
    broken: Row = ("info", "kms.restore", {"n": 2, "error": "Timeout"})
    half = judged(*BACKED_UP, made("k2"), PUT_BACK[0], broken, end())
    assert half.result is CheckOutcome.UNKNOWN


def test_a_restore_that_broke_off_may_have_lost_them() -> None:
    broken: Row = ("heal", "heal", {"id": "hit", "verified": False, "seen": "KS-CHAOS-107: x"})
    found = judged(INJECT, STRUCK, made("k2"), CURING, broken, end())
    assert found.result is CheckOutcome.UNKNOWN


def test_a_provider_that_is_deleted_takes_its_own_keys_only() -> None:
    found = judged(made("k1"), made("k2", "q"), DELETED, end("k2"))
    assert found.result is CheckOutcome.PASS
    assert found.text.endswith("; 1 gone as told: of a deleted provider")
    nothing = judged(made("k1"), DELETED, end())
    assert nothing.result is CheckOutcome.UNKNOWN


def test_a_provider_that_nobody_names_may_be_any() -> None:
    gone: Row = ("info", "provider.delete", {"error": "TimedOut"})
    assert judged(made("k1"), gone, end()).result is CheckOutcome.UNKNOWN
    named: Row = ("ok", "provider.delete", {"deleted": "p"})
    assert judged(made("k1"), named, end()).result is CheckOutcome.UNKNOWN
    assert judged(made("k1", "q"), named, end()).result is CheckOutcome.FAIL
