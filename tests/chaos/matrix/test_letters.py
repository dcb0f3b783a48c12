"""Each letter is given by its own evidence, and by none that lacks a part of it."""

from __future__ import annotations

import msgspec
import pytest

from chaos.matrix.evidence import (
    Answered,
    ClearContent,
    HostSeen,
    JudgedLetter,
    Left,
    MovedVm,
    VmSeen,
    Works,
    Wrapped,
)
from chaos.matrix.judging.letters import (
    SCREEN_A,
    of_addition,
    of_both,
    of_creation,
    of_creation_at_host,
    of_host,
    of_move,
    of_parts_of_one,
    of_power_on,
    of_recrypt,
    of_restart,
    of_running,
    of_three_looks,
    of_vtpm,
)
from chaos.matrix.terms import UNCLEAR
from chaos.oracle.terms import Letter
from protocol.errors import REGISTRY
from protocol.events import EventTypeId
from protocol.terms import HostConnectionState, HostCryptoState, VmConnectionState
from tests.chaos.matrix.evidence import (
    DONE,
    ELSEWHERE,
    HOST,
    KEY,
    LOCK,
    OTHER,
    REFUSED,
    REQUIRED,
    SILENT,
    added,
    host,
    locked,
    running,
    stopped,
    view,
)

WRONG, MUTE = Works(right=False, detail="digest"), Works(right=None, detail="no answer")


def power_on(asked: Answered, seen: VmSeen, later: VmSeen | None = None) -> str:
    return of_power_on(asked, seen, later or seen, (KEY,), host=HOST).letter


@pytest.mark.parametrize(
    "seen",
    [
        running(works=WRONG),
        running(works=MUTE),
        running(own=view(host=ELSEWHERE)),
        running(vcenter=view(host=ELSEWHERE)),
        running(own=None),
        running(own=view(False)),
        running(vcenter=view(False)),
        running(vcenter=None),
        running(vcenter=view(locked=True)),
        running(vcenter=view(crypto=None)),
        running(own=view(crypto=None)),
        running(vcenter=None, vcenter_up=False, own=view(locked=True)),
        running(locks=(LOCK,)),
    ],
)
def test_a_vm_that_was_powered_on_is_ok_only_when_all_say_so(seen: VmSeen) -> None:
    assert power_on(DONE, running()) == "OK"
    assert power_on(DONE, running(vcenter=None, vcenter_up=False)) == "OK"
    assert power_on(DONE, seen) == UNCLEAR


@pytest.mark.parametrize(
    ("asked", "seen", "later"),
    [
        (
            REQUIRED,
            locked(vcenter=view(False, locked=True, connection=VmConnectionState.CONNECTED)),
            locked(),
        ),
        (REQUIRED, locked(locks=()), locked()),
        (REQUIRED, locked(locks=(msgspec.structs.replace(LOCK, keys=(OTHER,)),)), locked()),
        (REQUIRED, locked(locks=(msgspec.structs.replace(LOCK, provider=None),)), locked()),
        (REQUIRED, locked(), stopped()),
        (REQUIRED, locked(own=view()), locked()),
        (msgspec.structs.replace(REQUIRED, keys=(KEY, OTHER)), locked(), locked()),
        (msgspec.structs.replace(REQUIRED, keys=()), locked(), locked()),
        (REFUSED, locked(), locked()),
        (SILENT, locked(), locked()),
    ],
)
def test_locked_takes_the_refusal_the_mark_the_event_and_that_it_lasts(
    asked: Answered, seen: VmSeen, later: VmSeen
) -> None:
    assert power_on(REQUIRED, locked()) == "LK"
    assert power_on(asked, seen, later) == UNCLEAR


def test_a_refusal_without_a_lock_is_no_and_with_any_trace_of_one_it_is_nothing() -> None:
    for asked in (REFUSED, SILENT, REQUIRED):
        assert power_on(asked, stopped()) == "NO"
        assert power_on(asked, stopped(locks=(LOCK,))) == UNCLEAR
    assert power_on(REFUSED, stopped(own=None, vcenter=None, vcenter_up=False)) == "NO"
    assert power_on(REFUSED, running()) == UNCLEAR


def test_a_lock_that_only_the_host_can_tell_is_settled_by_three_looks() -> None:
    alone = locked(vcenter=None, vcenter_up=False, locks=())
    during = of_power_on(REQUIRED, alone, alone, (KEY,), host=HOST)
    assert during.letter == "LK"

    def looks(sight: VmSeen, relief: str = "") -> str:
        return of_three_looks(during, sight, (KEY,), relief).letter

    assert looks(locked()) == "LK"
    assert looks(stopped()) == "NO"  # vCenter never marks it
    assert looks(locked(locks=())) == "NO"
    connected = view(False, locked=True, connection=VmConnectionState.CONNECTED)
    assert looks(locked(vcenter=connected)) == "NO"
    assert looks(locked(), "it does not start") == UNCLEAR
    no = of_power_on(REFUSED, stopped(), stopped(), (KEY,), host=HOST)
    assert of_three_looks(no, locked(), (KEY,), "") == no


def test_a_vm_that_runs_on_is_right_at_every_look() -> None:
    assert of_running([running()] * 3, HOST).letter == "OK"
    assert of_running([], HOST).letter == UNCLEAR
    for seen in (running(works=MUTE), running(vcenter=view(locked=True)), stopped()):
        assert of_running([running(), seen, running()], HOST).letter == UNCLEAR


def restart(tries: list[Answered], seen: VmSeen, took: float = 60.0) -> str:
    return of_restart(tries, seen, (KEY,), host=HOST, took=took, window=180.0).letter


def test_a_restart_is_judged_by_its_last_try() -> None:
    assert restart([REQUIRED, DONE], running()) == "OK"
    assert restart([REQUIRED] * 5, locked()) == restart([REQUIRED] * 5, locked(), 1500.0) == "LK"
    assert restart([SILENT] * 5, stopped(own=None)) == "NO"
    assert restart([REQUIRED, SILENT], locked()) == UNCLEAR
    assert restart([], running()) == UNCLEAR
    assert restart([REQUIRED, DONE], running(), 181.0) == UNCLEAR


PREPARED = HostCryptoState.PREPARED
DEAD = HostSeen(answers=False, screen=SCREEN_A, connection=HostConnectionState.NOT_RESPONDING)


def reboot(
    now: HostSeen,
    later: HostSeen | None = None,
    clear: Works = MUTE,
    runs: bool = False,
    soon: HostSeen | None = None,
) -> str:
    return of_host(now, later or now, clear, clear_runs=runs, soon=soon).letter


def test_a_host_that_booted_is_safe_or_not_or_stands_at_its_screen() -> None:
    works = Works(right=True)
    assert reboot(host()) == "SAFE"
    assert reboot(host(crypto=PREPARED, dump=False), clear=works, runs=True) == "UNSAFE"
    nobody = msgspec.structs.replace(DEAD, connection=None, vcenter_up=False)
    assert reboot(DEAD) == reboot(nobody) == "PS"
    unseen = host(vcenter_crypto=None, connection=None, vcenter_up=False)
    assert reboot(unseen) == "SAFE"


def test_a_host_that_was_another_just_after_its_boot_gets_no_letter() -> None:
    away = host(vcenter_crypto=None, connection=None)  # vCenter may not know yet
    assert reboot(host(), soon=away) == "SAFE"
    for soon in (host(crypto=PREPARED, dump=False), host(dump=False), host(dump=None)):
        assert reboot(host(), soon=soon) == UNCLEAR


@pytest.mark.parametrize(
    ("now", "later", "clear", "runs"),
    [
        (host(dump=False), None, MUTE, False),
        (host(dump=None), None, MUTE, False),
        (host(crypto=PREPARED, dump=None), None, Works(right=True), True),
        (host(), host(crypto=PREPARED), MUTE, False),
        (host(dump=True), host(dump=False), MUTE, False),
        (host(screen="another"), None, MUTE, False),
        (host(vcenter_crypto=PREPARED), None, MUTE, False),
        (host(vcenter_crypto=None), None, MUTE, False),
        (host(), host(vcenter_crypto=PREPARED), MUTE, False),
        (
            host(crypto=PREPARED, dump=False, vcenter_crypto=HostCryptoState.SAFE),
            None,
            Works(right=True),
            True,
        ),
        (msgspec.structs.replace(DEAD, connection=None), None, MUTE, False),
        (host(crypto=HostCryptoState.INCAPABLE, dump=False), None, Works(right=True), True),
        (host(crypto=PREPARED, dump=False), None, MUTE, False),
        (host(crypto=PREPARED, dump=False), None, WRONG, True),
        (host(crypto=PREPARED, dump=False), host(), Works(right=True), True),
        (host(crypto=PREPARED, dump=True), None, Works(right=True), True),
        (msgspec.structs.replace(DEAD, screen="Failed to decrypt"), None, MUTE, False),
        (msgspec.structs.replace(DEAD, screen=""), None, MUTE, False),
        (DEAD, host(), MUTE, False),
        (msgspec.structs.replace(DEAD, messages=1), None, MUTE, False),
        (DEAD, None, MUTE, True),
        (
            msgspec.structs.replace(DEAD, connection=HostConnectionState.CONNECTED),
            None,
            MUTE,
            False,
        ),
    ],
)
def test_a_host_that_shows_anything_else_gets_no_letter(
    now: HostSeen, later: HostSeen | None, clear: Works, runs: bool
) -> None:
    assert reboot(now, later, clear, runs) == UNCLEAR


def test_a_refused_creation_leaves_nothing() -> None:
    nothing = stopped(own=None, vcenter=None)
    assert of_creation(DONE, running(), Left(), host=HOST).letter == "OK"
    assert of_creation(REFUSED, nothing, Left(), host=HOST).letter == "NO"
    for seen, left in (
        (nothing, Left(files=True)),
        (nothing, Left(keys=1)),
        (stopped(vcenter=None), Left()),
        (stopped(own=None), Left()),
    ):
        assert of_creation(REFUSED, seen, left, host=HOST).letter == UNCLEAR
    assert of_creation(DONE, running(works=WRONG), Left(), host=HOST).letter == UNCLEAR


def kept(
    *, vtpm: bool = False, home: bool = False, disks: bool = False, keys: int = 0
) -> ClearContent:
    return ClearContent(vtpm=vtpm, home_encrypted=home, disks_encrypted=disks, keys=keys)


def test_a_virtual_tpm_that_was_refused_leaves_nothing() -> None:
    clear = stopped(own=view(False, crypto=None), vcenter=view(False, crypto=None))
    assert of_vtpm(DONE, running(), kept(vtpm=True, home=True), host=HOST).letter == "OK"
    assert of_vtpm(REFUSED, clear, kept(), host=HOST).letter == "NO"
    for asked, seen, files in (
        (DONE, running(), kept(vtpm=True)),
        (DONE, running(), kept(home=True)),
        (DONE, running(), kept(vtpm=True, home=True, disks=True)),
        (DONE, running(works=WRONG), kept(vtpm=True, home=True)),
        (REFUSED, clear, kept(vtpm=True)),
        (REFUSED, clear, kept(home=True)),
        (REFUSED, clear, kept(keys=1)),
        (REFUSED, locked(), kept()),
    ):
        assert of_vtpm(asked, seen, files, host=HOST).letter == UNCLEAR


def test_two_things_under_one_letter_must_not_differ() -> None:
    ok, no, odd = (JudgedLetter(letter=one, why="so") for one in ("OK", "NO", "??"))
    assert of_parts_of_one(ok, ok).letter == "OK"
    for first, second in ((ok, no), (no, ok), (odd, ok), (ok, odd)):
        assert of_parts_of_one(first, second).letter == UNCLEAR


def test_a_vm_in_clear_moves_as_one_in_clear() -> None:
    clear = running(own=view(crypto=None), vcenter=view(crypto=None))
    moved = MovedVm(asked=DONE, here=stopped(own=None), there=clear, same_run=True, gap_s=0.5)
    how = {"source": ELSEWHERE, "target": HOST, "limit_s": 5.0}
    assert of_move(moved, **how, encrypted=False).letter == "OK"  # type: ignore[arg-type]
    assert of_move(moved, **how).letter == UNCLEAR  # type: ignore[arg-type]


def test_a_host_that_says_of_its_keys_what_it_does_not_show_fits_no_letter() -> None:
    for said in ({"claimed": (KEY, OTHER), "present": ()}, {"claimed": (), "present": (KEY,)}):
        judged = of_addition(DONE, added(**said), added(**said))
        assert judged.letter == "??" and "not what it shows" in judged.why


def test_a_host_that_is_added_is_whole_or_partly_there_or_not() -> None:
    bare = added(crypto=PREPARED, host_key=False, present=(), dump=None)
    all_but = added(present=(OTHER,))
    away = added(listed=False, connection=None, crypto=HostCryptoState.INCAPABLE, present=())
    assert of_addition(DONE, added(), added()).letter == "OK"
    assert of_addition(DONE, bare, bare).letter == "PT"
    assert of_addition(DONE, all_but, all_but).letter == "PT"
    assert of_addition(SILENT, away, away).letter == "NO"
    for asked, now, later in (
        (DONE, away, away),
        (DONE, bare, added()),
        (DONE, added(present=(KEY,)), added(present=(KEY,))),  # it lacks the one that is not hit
        (DONE, added(crypto=PREPARED), added(crypto=PREPARED)),
        (DONE, added(dump=False), added(dump=False)),
        (REFUSED, added(), added()),
        (DONE, added(vcenter_crypto=PREPARED), added(vcenter_crypto=PREPARED)),
        (DONE, added(present=(OTHER,), dump=False), added(present=(OTHER,), dump=False)),
        (DONE, added(crypto=PREPARED, present=()), added(crypto=PREPARED, present=())),
        (DONE, added(connection=None, present=()), added(connection=None, present=())),
    ):
        assert of_addition(asked, now, later).letter == UNCLEAR


def test_the_refusal_that_locks_is_one_of_the_product() -> None:
    assert REQUIRED.error in REGISTRY and REQUIRED.key_required


def test_a_key_that_was_used_before_and_one_that_was_not_are_parts() -> None:
    ok, locked, odd = (JudgedLetter(letter=one, why="so") for one in ("OK", "LK", "??"))
    assert of_both(ok, locked).letter == "PT"
    assert of_both(ok, ok).letter == "OK" and of_both(locked, locked).letter == "LK"
    assert of_both(odd, locked).letter == of_both(ok, odd).letter == "??"


def test_a_host_may_encrypt_where_no_task_can() -> None:
    refused, right = JudgedLetter(letter="NO", why="nobody answers"), Works(right=True)
    assert of_creation_at_host(refused, right).letter == "PT"
    for works in (Works(right=False, detail="wrong"), Works(right=None, detail="refused")):
        assert of_creation_at_host(refused, works).letter == "??"
    assert of_creation_at_host(JudgedLetter(letter="OK", why="it runs"), right).letter == "OK"


UNDER = Wrapped(keys=(KEY,), deks=(b"home", b"disk"))
ANEW = Wrapped(keys=(OTHER,), deks=(b"home-2", b"disk-2"))


def recrypted(
    asked: Answered = DONE,
    after: Wrapped = ANEW,
    *,
    seen: VmSeen | None = None,
    cycled: VmSeen | None = None,
    is_on: bool = True,
) -> str:
    looks = seen or running(), cycled or running()
    return of_recrypt(asked, UNDER, after, *looks, host=HOST, running=is_on).letter


def test_a_recrypt_changes_every_dek_and_the_vm_starts_without_the_old_key() -> None:
    assert recrypted() == "OK"
    assert recrypted(after=UNDER) == "??"
    assert recrypted(after=msgspec.structs.replace(ANEW, deks=(b"home-2", b"disk"))) == "??"
    assert recrypted(after=msgspec.structs.replace(ANEW, deks=(b"home-2",))) == "??"
    assert recrypted(after=msgspec.structs.replace(ANEW, keys=(OTHER, KEY))) == "??"
    assert recrypted(cycled=locked()) == "??"
    assert recrypted(seen=stopped()) == "??"


def test_a_refused_recrypt_changes_nothing() -> None:
    assert recrypted(REFUSED, UNDER) == "NO"
    assert recrypted(SILENT, UNDER) == "NO"
    assert recrypted(REFUSED, ANEW) == "??"
    assert recrypted(REFUSED, UNDER, seen=stopped()) == "??", "it ran before"
    assert recrypted(REQUIRED, UNDER, seen=locked(), is_on=False) == "LK"
    assert recrypted(REQUIRED, UNDER, seen=stopped(), is_on=False) == "NO"
    assert recrypted(REFUSED, UNDER, seen=locked(), is_on=False) == "??"


def moved(asked: Answered, here: VmSeen, there: VmSeen, **more: object) -> str:
    fields = {"same_run": True, "gap_s": 0.2, **more}
    seen = MovedVm(asked=asked, here=here, there=there, **fields)  # type: ignore[arg-type]
    return of_move(seen, source=ELSEWHERE, target=HOST, limit_s=10.0).letter


def test_a_vm_that_moved_is_the_same_run_and_on_one_host_only() -> None:
    gone, away = stopped(own=None), stopped(own=None)
    stays = running(own=view(host=ELSEWHERE), vcenter=view(host=ELSEWHERE))
    assert moved(DONE, gone, running()) == "OK"
    assert moved(REQUIRED, stays, away) == "NO"
    assert moved(SILENT, stays, away) == "NO"
    assert moved(DONE, running(), running()) == UNCLEAR
    assert moved(DONE, gone, running(), same_run=False) == UNCLEAR
    assert moved(DONE, gone, running(), gap_s=None) == UNCLEAR
    assert moved(DONE, gone, running(), gap_s=11.0) == UNCLEAR
    assert moved(DONE, gone, running(works=WRONG)) == UNCLEAR
    assert moved(DONE, gone, running(locks=(LOCK,))) == UNCLEAR
    assert moved(REQUIRED, stopped(), away) == UNCLEAR
    assert moved(REQUIRED, msgspec.structs.replace(stays, works=WRONG), away) == UNCLEAR
    assert moved(REQUIRED, msgspec.structs.replace(stays, locks=(LOCK,)), away) == UNCLEAR
    marked = view(host=ELSEWHERE, locked=True)
    assert moved(REQUIRED, msgspec.structs.replace(stays, vcenter=marked), away) == UNCLEAR


def test_a_vm_in_clear_is_ok_when_nobody_shows_it_as_encrypted() -> None:
    clear = view(crypto=None)
    assert power_on(DONE, running(clear=True, own=clear, vcenter=clear)) == "OK"
    assert power_on(DONE, running(clear=True, own=clear)) == UNCLEAR


def test_what_nobody_shows_is_not_locked_and_does_not_stay_so() -> None:
    unseen = stopped(own=None, vcenter=None, vcenter_up=False)
    assert power_on(REQUIRED, unseen) == "NO"
    assert power_on(REQUIRED, locked(), unseen) == UNCLEAR
    judged = of_power_on(REQUIRED, locked(), unseen, (KEY,), host=HOST)
    assert judged.why == "it was locked, and is not any more, with the fault still there"


def test_an_event_that_is_no_lock_names_no_key() -> None:
    told = msgspec.structs.replace(LOCK, event=EventTypeId.VM_UNLOCKED)
    judged = of_power_on(REQUIRED, locked(locks=(told,)), locked(), (KEY,), host=HOST)
    assert judged.letter == UNCLEAR
    assert judged.why == "locked, and no event names its keys and their provider"


def test_a_refusal_is_told_in_its_own_words_or_by_its_name() -> None:
    bare = msgspec.structs.replace(REFUSED, text="")
    for asked, why in (
        (REFUSED, "not responding"),
        (bare, "HostUnreachable"),
        (SILENT, "nobody answers"),
    ):
        judged = of_power_on(asked, stopped(), stopped(), (KEY,), host=HOST)
        assert judged.why == f"{why}; not locked"
        away = added(listed=False, connection=None, crypto=HostCryptoState.INCAPABLE, present=())
        assert of_addition(asked, away, away).why == f"{why}; it is not in the inventory"


def test_what_does_not_run_is_described_as_it_is_shown() -> None:
    off = running(own=view(False, crypto=None))
    judged = of_power_on(DONE, off, off, (KEY,), host=HOST)
    where = f"poweredOff on {HOST}, not encrypted, connected"
    assert judged.why == f"done, but it does not run on {HOST}: {where}"
    judged = of_power_on(DONE, running(own=None), running(), (KEY,), host=HOST)
    assert judged.why.endswith("nobody shows it")


def test_a_move_leaves_a_vm_that_is_off_on_the_other_host() -> None:
    stays = running(own=view(host=ELSEWHERE), vcenter=view(host=ELSEWHERE))
    assert moved(REQUIRED, stays, stopped()) == "NO"
    assert moved(REQUIRED, stays, running()) == UNCLEAR
    assert moved(REQUIRED, stopped(own=None), stopped(own=None)) == UNCLEAR
    gone = stopped(own=None)
    assert moved(DONE, gone, running(), gap_s=10.0) == "OK", "the limit itself is allowed"


def test_vcenter_that_does_not_answer_marks_nothing_at_first_sight() -> None:
    during = JudgedLetter(letter=Letter.LOCKED, why="the host locks it")
    assert of_three_looks(during, stopped(vcenter=None), (KEY,), "").letter == "NO"


def test_a_host_that_opens_its_dump_later_was_not_without_its_key() -> None:
    now, later = host(crypto=PREPARED, dump=False), host(crypto=PREPARED, dump=True)
    assert reboot(now, later, Works(right=True)) == UNCLEAR
    assert reboot(now, host(crypto=PREPARED, dump=None), Works(right=True)) == UNCLEAR


def test_a_restart_may_take_its_whole_window() -> None:
    assert restart([DONE], running(), 180.0) == "OK"


def test_a_refused_recrypt_of_a_vm_that_runs_leaves_its_guest_right() -> None:
    for asked in (REFUSED, REQUIRED):
        assert recrypted(asked, UNDER, seen=running()) == "NO"
    assert recrypted(REFUSED, UNDER, seen=running(works=WRONG)) == UNCLEAR
    judged = of_recrypt(DONE, UNDER, ANEW, running(), None, host=HOST, running=True)
    assert judged.letter == "OK", "nobody was to start it again"


def test_a_host_that_comes_late_or_against_a_refusal_fits_no_letter() -> None:
    away = added(listed=False, connection=None, crypto=HostCryptoState.INCAPABLE, present=())
    for asked, now, later in ((DONE, away, added()), (REFUSED, away, added())):
        assert of_addition(asked, now, later).letter == UNCLEAR
    odd = added(crypto=PREPARED, host_key=False, present=(KEY,), dump=None)
    assert of_addition(DONE, odd, odd).letter == UNCLEAR
    keyed = added(crypto=PREPARED, host_key=True, present=(), dump=None)
    assert of_addition(DONE, keyed, keyed).letter == UNCLEAR
