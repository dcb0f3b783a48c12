"""Histories of keys that were acknowledged, and what the check says of each."""

from __future__ import annotations

from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding

Row = tuple[str, str, str, dict[str, Any]]

FAIL: Final = CheckOutcome.FAIL
PASS: Final = CheckOutcome.PASS
UNKNOWN: Final = CheckOutcome.UNKNOWN


def state(op: str, node: str = "", **data: Any) -> Row:
    return (node, "state", op, data)


def key(name: str, provider: str = "p") -> Row:
    return ("", "ok", "key.create", {"key": name, "provider": provider})


def end(*available: str, asked: tuple[str, ...] = ("k1", "k2")) -> Row:
    return state("keys", asked=list(asked), available=list(available))


def heal(id: str = "x", **data: Any) -> Row:
    return ("", "heal", "heal", {"id": id, "verified": True} | data)


STAGED = state("staging", providers=[{"name": "p", "servers": ["s1", "s2"]}])
INJECT: Row = ("", "note", "inject", {"id": "x"})
ENDING: Row = ("", "note", "ending", {"id": "x", "cure": True})
UNCURED: Row = ("", "note", "ending", {"id": "x"})


def taken_back(*, op: str = "kms.key_state", **values: str) -> Row:
    return ("", "fault", op, {"id": "x", "values": values, "restores": ["s1"]})


def struck(*keys: str) -> Row:
    return ("", "fault", "kms.key_state", {"id": "x", "keys": list(keys), "restores": ["s1"]})


def backup(type: str, number: int = 1, name: str = "b") -> Row:
    return ("", type, "kms.backup", {"n": number} | ({"backup": name} if type == "invoke" else {}))


def restore(type: str, number: int = 2, name: str = "b", **data: Any) -> Row:
    data |= {"backup": name} if type == "invoke" else {}
    return ("", type, "kms.restore", {"n": number, **data})


NEWER = "1 gone as told: newer than a backup that was put back (SC-14)"
NONE_KEPT = "no key was acknowledged in this run, and kept"


def lost(seq: int, of: int = 1, place: str = "all") -> Finding:
    return Finding(FAIL, f"1 of {of} lost ({place}): k1", (seq,))


def excused(why: str) -> Finding:
    return Finding(UNKNOWN, f"{NONE_KEPT}; {why}")


DELETED = "1 gone as told: of a deleted provider"
STRUCK = "1 gone as told: struck at their key server"


def delete(provider: str, **data: Any) -> Row:
    return ("", "fault", "provider.delete", {"id": "x", "deleted": provider, **data})


KEYS: list[tuple[str, list[Row], Finding]] = [
    ("acked_key_recoverable", rows, finding)
    for rows, finding in (
        ([key("k1"), end("k1")], Finding(PASS, "all 1 acknowledged keys are available")),
        ([key("k1"), ("", "invoke", "kms.key.destroy", {"keys": ["k1"]}), end()], lost(1)),
        ([key("k1"), ("", "ok", "kms.key.destroy", {"keys": ["k1"]}), end()], excused(STRUCK)),
        ([key("k1"), ("", "info", "kms.key.revoke", {"keys": ["k1"]}), end()], excused(STRUCK)),
        ([key("k1"), ("", "ok", "vm.on", {"keys": ["k1"]}), end()], lost(1)),
        (
            [key("k1"), key("k2"), ("", "ok", "kms.key.destroy", {"keys": ["k1"]}), end("k1")],
            Finding(FAIL, "1 of 1 lost (all): k2", (2,)),
        ),
        # a provider that was deleted
        ([key("k1"), delete("p"), end()], excused(DELETED)),
        ([key("k1"), delete("q"), end()], lost(1)),
        ([key("k1"), delete("", values={"provider": "q"}), end()], lost(1)),
        ([key("k1"), delete("", values={"provider": "p"}), end()], excused(DELETED)),
        ([key("k1"), ("", "invoke", "provider.delete", {"deleted": "p"}), end()], lost(1)),
        ([key("k1"), delete("p"), heal(), end()], lost(1)),
        ([key("k1"), delete("p"), heal(verified=False), end()], excused(DELETED)),
        ([key("k1"), delete("p"), heal("y"), end()], excused(DELETED)),
        (
            [key("k1"), delete("p"), ("", "invoke", "provider.add", {"provider": "p"}), end()],
            lost(1),
        ),
        (
            [key("k1"), delete("p"), ("", "invoke", "provider.add", {"provider": "q"}), end()],
            excused(DELETED),
        ),
        (
            [key("k1"), delete("p"), ("", "fail", "provider.add", {"provider": "p"}), end()],
            excused(DELETED),
        ),
        (
            [key("k1"), delete("p"), ("", "invoke", "provider.move", {"provider": "p"}), end()],
            excused(DELETED),
        ),
        # a backup of vCenter that was put back
        ([key("k1"), ("", "ok", "vcenter.restore", {"gone": ["p"]}), end()], excused(DELETED)),
        ([key("k1"), ("", "ok", "vcenter.restore", {"gone": ["q"]}), end()], lost(1)),
        ([key("k1"), ("", "fail", "vcenter.restore", {"gone": ["p"]}), end()], lost(1)),
        ([key("k1"), ("", "ok", "vcenter.backup", {"gone": ["p"]}), end()], lost(1)),
        # a backup of a key server that was put back by an action
        (
            [
                STAGED,
                backup("invoke"),
                backup("ok"),
                key("k1"),
                restore("invoke"),
                restore("ok", servers=["s1"]),
                end(),
            ],
            excused(NEWER),
        ),
        (
            [
                STAGED,
                key("k1"),
                backup("invoke"),
                backup("ok"),
                restore("invoke"),
                restore("ok"),
                end(),
            ],
            lost(2),
        ),
        (
            [
                STAGED,
                backup("invoke"),
                backup("ok"),
                restore("invoke"),
                restore("ok"),
                key("k1"),
                end(),
            ],
            lost(6),
        ),
        (
            [
                STAGED,
                backup("invoke"),
                backup("ok"),
                key("k1"),
                restore("invoke"),
                restore("ok", servers=["s9"]),
                end(),
            ],
            lost(4),
        ),
        (
            [STAGED, key("k1"), restore("invoke", name="old"), restore("info"), end()],
            excused(NEWER),
        ),
        ([STAGED, key("k1"), restore("invoke", name="old"), restore("fail"), end()], lost(2)),
        ([STAGED, key("k1"), restore("invoke", name="old"), end()], lost(2)),
        (
            [
                STAGED,
                backup("invoke"),
                backup("info"),
                key("k1"),
                restore("invoke"),
                restore("ok"),
                end(),
            ],
            excused(NEWER),
        ),
        (
            [
                STAGED,
                key("k1"),
                backup("invoke"),
                backup("info"),
                restore("invoke"),
                restore("ok"),
                end(),
            ],
            lost(2),
        ),
        (
            # A second try that may have failed leaves the first backup in its place.
            [
                STAGED,
                backup("invoke"),
                backup("ok"),
                key("k1"),
                backup("invoke", 5),
                backup("info", 5),
                restore("invoke"),
                restore("ok"),
                end(),
            ],
            excused(NEWER),
        ),
        (
            # A second backup that worked has the key.
            [
                STAGED,
                backup("invoke"),
                backup("ok"),
                key("k1"),
                backup("invoke", 5),
                backup("ok", 5),
                restore("invoke"),
                restore("ok"),
                end(),
            ],
            lost(4),
        ),
        (
            [
                STAGED,
                key("k1"),
                backup("invoke"),
                backup("fail"),
                restore("invoke"),
                restore("ok"),
                end(),
            ],
            excused(NEWER),
        ),
        # the cure of a fault puts a backup back
        ([STAGED, INJECT, key("k1"), taken_back(), ENDING, heal(), end()], excused(NEWER)),
        ([STAGED, key("k1"), INJECT, taken_back(), ENDING, heal(), end()], lost(2)),
        ([STAGED, key("k1"), taken_back(), ENDING, heal(), end()], lost(2)),
        ([STAGED, taken_back(), key("k1"), ENDING, heal(), end()], excused(NEWER)),
        ([STAGED, taken_back(), ENDING, heal(), key("k1"), end()], lost(5)),
        ([STAGED, taken_back(), key("k1"), UNCURED, heal(), end()], lost(3)),
        (
            [STAGED, taken_back(), key("k1"), ("", "note", "inject", ENDING[3]), heal(), end()],
            lost(3),
        ),
        ([STAGED, taken_back(), key("k1"), ENDING, heal("y"), end()], lost(3)),
        ([STAGED, taken_back(), key("k1"), ENDING, end()], lost(3)),
        ([STAGED, taken_back(op="kms.rollback"), key("k1"), ENDING, heal(), end()], excused(NEWER)),
        ([STAGED, taken_back(op="kms.reject"), key("k1"), ENDING, heal(), end()], lost(3)),
        (
            [
                STAGED,
                taken_back(),
                key("k1"),
                ENDING,
                heal(verified=False, seen="KS-CHAOS-108: x"),
                end(),
            ],
            lost(3),
        ),
        (
            [
                STAGED,
                taken_back(),
                key("k1"),
                ENDING,
                heal(verified=False, seen="no answer"),
                end(),
            ],
            excused(NEWER),
        ),
        (
            [STAGED, key("k1"), INJECT, taken_back(backup="b"), ENDING, heal(), end()],
            excused(NEWER),
        ),
        (
            [
                STAGED,
                key("k1"),
                backup("invoke"),
                backup("ok"),
                taken_back(backup="b"),
                ENDING,
                heal(),
                end(),
            ],
            lost(2),  # the backup of that name had it
        ),
        # the cure of a fault has put the struck key back
        ([STAGED, key("k1"), struck("k1"), end()], excused(STRUCK)),
        ([STAGED, key("k1"), struck("k1"), ENDING, heal(), end()], lost(2)),
        ([STAGED, key("k1"), struck("k1"), UNCURED, heal(), end()], excused(STRUCK)),
        ([STAGED, key("k1"), struck("k1"), ENDING, heal("y"), end()], excused(STRUCK)),
        ([STAGED, key("k1"), struck("k1"), ENDING, heal(verified=False), end()], excused(STRUCK)),
        (
            [
                STAGED,
                key("k1"),
                struck("k1"),
                ("", "ok", "kms.key.destroy", {"keys": ["k1"]}),
                ENDING,
                heal(),
                end(),
            ],
            excused(STRUCK),
        ),
        (
            [
                state("staging", providers=[{"name": "p", "servers": ["s3"]}]),
                taken_back(),
                key("k1"),
                ENDING,
                heal(),
                end(),
            ],
            lost(3),
        ),
        ([taken_back(), key("k1"), ENDING, heal(), end()], excused(NEWER)),
        (
            [
                ("", "invoke", "provider.add", {"provider": "p", "servers": ["s3"]}),
                taken_back(),
                key("k1"),
                ENDING,
                heal(),
                end(),
            ],
            lost(3),
        ),
    )
]
