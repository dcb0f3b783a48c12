"""From evidence to a letter.

Pure: nothing here sends a request or knows the table. ``of_groups`` judges E12, the disk groups of
a host that has booted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chaos.matrix.evidence import (
    Added,
    Answered,
    ClearContent,
    EventSeen,
    GroupsSeen,
    HostSeen,
    JudgedLetter,
    Left,
    MovedVm,
    RequestOutcome,
    VmSeen,
    VmView,
    Works,
    Wrapped,
)
from chaos.matrix.terms import UNCLEAR
from chaos.oracle.terms import Letter
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    VmConnectionState,
    VmCryptoState,
)
from protocol.vsan import ComponentState, VsanEncryptionIssue

SCREEN_A = "Unable to restore the system configuration. A security violation was detected."


def unclear(why: str) -> JudgedLetter:
    """Evidence that fits no letter."""
    return JudgedLetter(letter=UNCLEAR, why=why)


def of_power_on(
    asked: Answered,
    seen: VmSeen,
    later: VmSeen,
    keys: Sequence[CryptoKeyId],
    *,
    host: str,
    locked_as: VmConnectionState = VmConnectionState.INVALID,
) -> JudgedLetter:
    """A power-on that was asked for on ``host``; ``later`` is a look at what must last.

    ``keys`` are those that the judged VM needs and the fault keeps away, when it does;
    ``locked_as``: how vCenter shows a VM that lacks these: the key of its home, or of a disk only.
    """
    if asked.done:
        return _ok(seen, host)
    if seen.own is not None and seen.own.on:
        return unclear(f"{asked.error}, and yet it runs on {seen.own.host}")
    if asked.key_required and (locked := _judge_locked(asked, seen, later, keys, locked_as)):
        return locked
    return _judge_refused(asked, seen)


def of_restart(
    tries: Sequence[Answered],
    seen: VmSeen,
    keys: Sequence[CryptoKeyId],
    *,
    host: str,
    took: float,
    window: float,
) -> JudgedLetter:
    """E5, E6: HA's tries on ``host``, in order; ``seen`` after the last one, which ended ``took``
    seconds after the failure: by then, a VM that is started must run in ``window``."""
    if not tries:
        return unclear("nobody tried")
    last = tries[-1]
    if last.done and took > window:
        return unclear(f"it was started {took:.0f} s after the failure, more than {window:.0f}")
    if last.done:
        return _ok(seen, host)
    return of_power_on(last, seen, seen, keys, host=host)


def _ok(seen: VmSeen, host: str, *, encrypted: bool = True) -> JudgedLetter:
    """Done, on the right host, the guest answers right, and nobody says that it is locked."""
    encrypted = encrypted and not seen.clear
    for view in (seen.own, seen.shown):
        if view is None or not view.on or view.host != host:
            return unclear(f"done, but it does not run on {host}: {_describe_view(view)}")
        if view.crypto is not (VmCryptoState.UNLOCKED if encrypted else None):
            return unclear(f"it runs, and shows as {view.crypto or 'not encrypted'}")
    if seen.works.right is not True:
        return unclear(f"it runs, but its guest is not right: {seen.works.detail}")
    if seen.locks:
        return unclear(f"it runs, but {seen.locks[0].event} was told of it")
    return JudgedLetter(letter=Letter.OK, why=f"it runs on {host}, and its guest answers right")


def _judge_locked(
    asked: Answered,
    seen: VmSeen,
    later: VmSeen,
    keys: Sequence[CryptoKeyId],
    locked_as: VmConnectionState = VmConnectionState.INVALID,
) -> JudgedLetter | None:
    """LK: refused for exactly these keys, and locked; None when it is not locked.

    While vCenter is down the host's own word is the first of three looks (``of_three_looks``).
    """
    if not (seen.shown is not None and seen.shown.locked):
        return None
    if set(asked.keys) != set(keys):
        return unclear(f"refused for {_names(asked.keys)}, its keys are {_names(keys)}")
    if not (later.shown is not None and later.shown.locked):
        return unclear("it was locked, and is not any more, with the fault still there")
    if not seen.vcenter_up:
        return JudgedLetter(
            letter=Letter.LOCKED, why="the host refuses for lack of its key, and locks it"
        )
    if seen.vcenter is None or seen.vcenter.connection is not locked_as:
        return unclear(f"locked, and not {locked_as.value}: {_describe_view(seen.vcenter)}")
    if not _named_by(seen.locks, keys):
        return unclear("locked, and no event names its keys and their provider")
    return JudgedLetter(
        letter=Letter.LOCKED, why=f"refused for {_names(keys)}; locked and {locked_as.value}"
    )


def _judge_refused(asked: Answered, seen: VmSeen) -> JudgedLetter:
    """NO: refused or nobody there, the VM as before, not locked, and no event of a lock."""
    if any(view is not None and view.locked for view in (seen.own, seen.vcenter)):
        return unclear(f"{asked.error}, and it shows as locked")
    if seen.locks:
        return unclear(f"{asked.error}, and {seen.locks[0].event}")
    why = asked.text or asked.error if asked.outcome is RequestOutcome.REFUSED else "nobody answers"
    return JudgedLetter(letter=Letter.NO, why=f"{why}; not locked")


def of_move(
    moved: MovedVm, *, source: str, target: str, limit_s: float, encrypted: bool = True
) -> JudgedLetter:
    """E7, E8: on the target, the same guest, and not for long at a standstill; or where it was, as
    it was, and not locked."""
    if moved.here.own is not None and moved.here.own.on and moved.there.own is not None:
        if moved.there.own.on:
            return unclear(f"it runs on {source} and on {target}")
    if not moved.same_run:
        return unclear("its guest is not the one that ran before")
    if not moved.asked.done:
        own = moved.here.own
        if own is None or not own.on or moved.here.works.right is not True:
            return unclear(f"{moved.asked.error}, and it does not run on {source} as before")
        return _judge_refused(moved.asked, moved.here)
    if moved.gap_s is None:
        return unclear("done, and nothing of its memory went from host to host")
    if moved.gap_s > limit_s:
        return unclear(f"its guest stood still for {moved.gap_s:.0f} s, more than {limit_s:.0f}")
    return _ok(moved.there, target, encrypted=encrypted)


def of_three_looks(
    during: JudgedLetter, sight: VmSeen, keys: Sequence[CryptoKeyId], relief: str
) -> JudgedLetter:
    """LK while vCenter was down: its host said so; vCenter says so at first sight, while it
    cannot supply the key; and takes it back when it can (``relief`` empty, else what was seen).
    """
    if during.letter != Letter.LOCKED:
        return during
    view = sight.vcenter
    marked = view is not None and view.locked and view.connection is VmConnectionState.INVALID
    if not marked or not _named_by(sight.locks, keys):
        shown = _describe_view(view)
        why = f"{during.why}; a vCenter that cannot supply the key does not mark it: {shown}"
        return JudgedLetter(letter=Letter.NO, why=why)
    if relief:
        return unclear(f"{during.why}; marked by vCenter at first sight, and then {relief}")
    return JudgedLetter(
        letter=Letter.LOCKED,
        why=f"{during.why}; vCenter marks it at first sight, and unlocks it when it can",
    )


def of_both(used: JudgedLetter, cold: JudgedLetter) -> JudgedLetter:
    """Where hosts derive keys and a KDK is another one: of a VM whose key its host has used, and of
    one whose key it has to derive. Partly, when these differ."""
    if UNCLEAR in (used.letter, cold.letter):
        return used if used.letter == UNCLEAR else cold
    if used.letter == cold.letter:
        return used
    return JudgedLetter(
        letter=Letter.PARTLY,
        why=f"key used before: {used.letter}, {used.why}; not used: {cold.letter}, {cold.why}",
    )


def of_creation_at_host(through_vcenter: JudgedLetter, at_host: Works) -> JudgedLetter:
    """E9 without vCenter, where hosts derive keys: the task, and an object that the host's own
    administrator has it encrypt."""
    if through_vcenter.letter != Letter.NO:
        return through_vcenter
    if at_host.right is not True:
        return unclear(f"nothing can be encrypted at the host either: {at_host.detail}")
    return JudgedLetter(
        letter=Letter.PARTLY,
        why=f"through vCenter: {through_vcenter.why}; at the host: encrypted, and read back",
    )


def of_running(looks: Sequence[VmSeen], host: str) -> JudgedLetter:
    """E1: a VM that runs all the time, at each of these looks."""
    for number, seen in enumerate(looks, 1):
        judged = _ok(seen, host)
        if judged.letter != Letter.OK:
            return unclear(f"look {number} of {len(looks)}: {judged.why}")
    if not looks:
        return unclear("nobody looked")
    return JudgedLetter(
        letter=Letter.OK, why=f"its guest answered right at each of {len(looks)} looks"
    )


def of_host(
    now: HostSeen,
    later: HostSeen,
    clear: Works,
    *,
    clear_runs: bool,
    soon: HostSeen | None = None,
) -> JudgedLetter:
    """E2: what the boot of a host gave. ``clear``: a VM without encryption, powered on there.
    ``soon``: a look just after its boot, which must show the same host."""
    if soon is not None and (soon.crypto, soon.dump) != (now.crypto, now.dump):
        return unclear(f"it was {soon.crypto} just after its boot, and is {now.crypto}")
    if not now.answers:
        return of_stopped(now, later, clear_runs=clear_runs)
    if now.screen:
        return unclear(f"it answers, and stands at {now.screen!r}")
    if wrong := _compare_crypto_state(now) or _compare_crypto_state(later):
        return unclear(wrong)
    if now.crypto is HostCryptoState.SAFE:
        if now.dump is not True:
            return unclear("it says that it is safe, and does not decrypt its dump")
        if later.crypto is not HostCryptoState.SAFE or later.dump is not True:
            return unclear("it was safe, and is not any more")
        return JudgedLetter(letter=Letter.SAFE, why="safe, and it decrypts its dump of before")
    if now.crypto is not HostCryptoState.PREPARED:
        return unclear(f"it answers, and is {now.crypto}")
    if clear.right is not True:
        return unclear(f"not safe, and a VM without encryption does not run: {clear.detail}")
    if now.dump is not False:
        return unclear("it says that it is not safe, and does not refuse its dump")
    if later.crypto is not HostCryptoState.PREPARED or later.dump is not False:
        return unclear(f"it was not safe, and is {later.crypto} with the fault still there")
    return JudgedLetter(
        letter=Letter.UNSAFE, why="not safe, cannot decrypt its dump, runs what is clear"
    )


def _compare_crypto_state(seen: HostSeen) -> str:
    """Empty when vCenter shows the mode that the host has, or nobody can be asked."""
    if not seen.vcenter_up or seen.vcenter_crypto is seen.crypto:
        return ""
    return f"it is {seen.crypto}, and vCenter shows it as {seen.vcenter_crypto or 'unknown'}"


def of_stopped(now: HostSeen, later: HostSeen, *, clear_runs: bool) -> JudgedLetter:
    """PS: it stands at its screen, silent, and runs nothing."""
    for seen in (now, later):
        if seen.answers or seen.screen != SCREEN_A:
            return unclear(f"it does not answer, its screen is {seen.screen!r}")
        if seen.messages:
            return unclear(f"it stands at its screen, and has sent {seen.messages} messages")
        if seen.vcenter_up and seen.connection is not HostConnectionState.NOT_RESPONDING:
            return unclear(f"it stands at its screen, and vCenter has it {seen.connection}")
    if clear_runs:
        return unclear("it stands at its screen, and runs a VM")
    return JudgedLetter(letter=Letter.PURPLE_SCREEN, why="it stands at its screen, and is silent")


def of_creation(asked: Answered, seen: VmSeen, left: Left, *, host: str) -> JudgedLetter:
    """E9: ``asked`` is the end of creating and, when that was done, of starting the new VM."""
    if asked.done:
        return _ok(seen, host)
    if seen.own is not None or seen.vcenter is not None:
        return unclear(
            f"{asked.error}, and it is in an inventory: {_describe_view(seen.own or seen.vcenter)}"
        )
    if left.files or left.keys:
        files = "files on the datastore" if left.files else "no files"
        return unclear(f"{asked.error}, and it has left {files}, {left.keys} keys")
    return _judge_refused(asked, seen)


def of_vtpm(asked: Answered, seen: VmSeen, kept: ClearContent, *, host: str) -> JudgedLetter:
    """E9: ``asked`` is the end of adding a virtual TPM to a VM in clear and, when that was done, of
    starting the VM; ``kept`` is what its files hold then."""
    if asked.done:
        if not (kept.vtpm and kept.home_encrypted) or kept.disks_encrypted:
            return unclear(f"done, and its files say {kept}")
        return _ok(seen, host)
    if kept.vtpm or kept.home_encrypted or kept.keys:
        return unclear(f"{asked.error}, and it has left {kept}")
    return _judge_refused(asked, seen)


def of_parts_of_one(first: JudgedLetter, second: JudgedLetter) -> JudgedLetter:
    """Two things that one letter is for: they must not differ."""
    if UNCLEAR in (first.letter, second.letter):
        return first if first.letter == UNCLEAR else second
    if first.letter != second.letter:
        return unclear(f"{first.letter}, {first.why}; and {second.letter}, {second.why}")
    return first


def of_recrypt(
    asked: Answered,
    before: Wrapped,
    after: Wrapped,
    seen: VmSeen,
    cycled: VmSeen | None,
    *,
    host: str,
    running: bool,
) -> JudgedLetter:
    """E10: what the VM's files hold before and after, the VM then, and the VM after it was off and
    on without the old keys (None: the task was not done). ``running``: it ran before."""
    if not asked.done:
        if before != after:
            return unclear(f"{asked.error}, and its wrapped DEKs are others")
        if running and seen.works.right is not True:
            return unclear(f"{asked.error}, and its guest is not right: {seen.works.detail}")
        if (
            asked.key_required
            and not running
            and (lock := _judge_locked(asked, seen, seen, before.keys))
        ):
            return lock
        return _judge_refused(asked, seen)
    if not set(before.keys).isdisjoint(after.keys):
        return unclear(f"done, and it is still under {_names(after.keys)}")
    if len(before.deks) != len(after.deks) or not set(before.deks).isdisjoint(after.deks):
        return unclear("done, and a wrapped DEK is as it was")
    for when, look in (("then", seen), ("after a power cycle without the old keys", cycled)):
        if look is not None and (judged := _ok(look, host)).letter != Letter.OK:
            return unclear(f"{when}: {judged.why}")
    return JudgedLetter(
        letter=Letter.OK,
        why=f"under {_names(after.keys)}, and it starts without {_names(before.keys)}",
    )


def of_addition(asked: Answered, now: Added, later: Added) -> JudgedLetter:
    """E11: the new host a minute after it was to be added, and when things had time to settle."""
    if not now.listed and not later.listed:
        if asked.done:
            return unclear("done, and it is not in the inventory")
        why = (
            asked.text or asked.error
            if asked.outcome is RequestOutcome.REFUSED
            else "nobody answers"
        )
        return JudgedLetter(letter=Letter.NO, why=f"{why}; it is not in the inventory")
    if asked.outcome is RequestOutcome.REFUSED:
        return unclear(f"{asked.error}, and yet it is in the inventory")
    if now.vcenter_crypto is not now.crypto:
        return unclear(f"it is {now.crypto}, and vCenter shows it as {now.vcenter_crypto}")
    if set(now.claimed) != set(now.present):
        odd = sorted(set(now.claimed) ^ set(now.present))
        return unclear(f"what it says of {_names(odd)} is not what it shows")
    if now.whole:
        return JudgedLetter(
            letter=Letter.OK, why="connected, safe, and it has every key of the cluster"
        )
    if msgspec.structs.replace(later, events=()) != msgspec.structs.replace(now, events=()):
        return unclear(f"it changed with the fault still there: {later.crypto}")
    lacks = set(now.wanted) - set(now.present)
    if now.crypto is HostCryptoState.PREPARED and not now.host_key and not now.present:
        return JudgedLetter(
            letter=Letter.PARTLY, why="in the inventory, not safe, with no key at all"
        )
    if now.crypto is HostCryptoState.SAFE and now.dump is True and lacks == set(now.hit):
        return JudgedLetter(letter=Letter.PARTLY, why=f"safe, with every key but {_names(now.hit)}")
    return unclear(f"in the inventory, {now.crypto}, it lacks {_names(sorted(lacks))}")


def _named_by(events: Iterable[EventSeen], keys: Sequence[CryptoKeyId]) -> bool:
    """Whether an event of a lock names these keys, and a provider of theirs."""
    providers = {key.provider_id for key in keys}
    return any(e.locks and set(e.keys) == set(keys) and e.provider in providers for e in events)


def _names(keys: Sequence[CryptoKeyId]) -> str:
    return ", ".join(sorted(map(str, keys))) or "no key"


def _describe_view(view: VmView | None) -> str:
    if view is None:
        return "nobody shows it"
    crypto = view.crypto.value if view.crypto is not None else "not encrypted"
    return f"{view.power.value} on {view.host}, {crypto}, {view.connection.value}"


_LACKS: Final = frozenset(
    {VsanEncryptionIssue.KEK_NOT_AVAILABLE, VsanEncryptionIssue.HOST_KEY_NOT_AVAILABLE}
)


def of_groups(
    now: GroupsSeen, later: GroupsSeen, clear: Works, *, clear_runs: bool
) -> JudgedLetter:
    """E12: a minute after the boot, and still when things had time to settle. ``clear``: a VM
    without encryption, powered on at that host.

    OK: mounted, and the component reads right. NO: the host stands at its screen, or it is up
    without its groups and says which key it lacks; others serve the object.
    """
    for seen in (now, later):
        if seen.handed:
            return unclear("vCenter has handed out the key of the disk groups")
        if seen.neighbour.right is not True:
            return unclear(f"another host does not read its replica: {seen.neighbour.detail}")
        if seen.accessible is False:
            return unclear("vCenter shows the object as not accessible")
        if seen.host.answers and seen.host.screen:
            return unclear(f"it answers, and stands at {seen.host.screen!r}")
    if not now.host.answers:
        return _judge_stopped(now, later, clear_runs=clear_runs)
    if now.mounted is not later.mounted:
        return unclear(f"mounted is {now.mounted} at first, and {later.mounted} later")
    return _judge_mounted(now, later) if now.mounted else _judge_unmounted(now, later, clear)


def _judge_mounted(now: GroupsSeen, later: GroupsSeen) -> JudgedLetter:
    for seen in (now, later):
        if seen.read.right is not True:
            return unclear(f"mounted, and its component does not read right: {seen.read.detail}")
        if seen.shown not in (None, ComponentState.ACTIVE):
            return unclear(f"mounted, and vCenter shows its component as {seen.shown}")
    why = "its disk groups are mounted, and its component reads right"
    return JudgedLetter(letter=Letter.OK, why=why)


def _judge_unmounted(now: GroupsSeen, later: GroupsSeen, clear: Works) -> JudgedLetter:
    for seen in (now, later):
        if seen.read.right is not None:
            return unclear(f"not mounted, and its component is read: {seen.read.detail or 'right'}")
        if seen.shown not in (None, ComponentState.ABSENT):
            return unclear(f"not mounted, and vCenter shows its component as {seen.shown}")
        if _LACKS.isdisjoint(seen.issues):
            return unclear(f"not mounted, and it tells of {_group_names(seen)}")
    if clear.right is not True:
        return unclear(f"not mounted, and a VM without encryption does not run: {clear.detail}")
    why = f"up, its disk groups are not mounted ({_group_names(now)}); others serve the object"
    return JudgedLetter(letter=Letter.NO, why=why)


def _judge_stopped(now: GroupsSeen, later: GroupsSeen, *, clear_runs: bool) -> JudgedLetter:
    judged = of_stopped(now.host, later.host, clear_runs=clear_runs)
    if judged.letter != Letter.PURPLE_SCREEN:
        return judged
    for seen in (now, later):
        if seen.shown not in (None, ComponentState.ABSENT):
            return unclear(f"it stands at its screen, and its component is {seen.shown}")
    return JudgedLetter(letter=Letter.NO, why=f"{judged.why}; others serve the object")


def _group_names(seen: GroupsSeen) -> str:
    return ", ".join(seen.issues) or "nothing"
