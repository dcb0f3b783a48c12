"""What a run's history says of a VM: what was wanted of it, and what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.oracle.fold.hosts import FoldedHost
from chaos.oracle.fold.known import NO, OPEN, YES, Known
from chaos.oracle.judgement import Outcome
from chaos.oracle.terms import Letter

ON = "poweredOn"
OFF, REVERT = "vm.off", "vm.revert"
POWERS = ("vm.power_cycle", "vm.off_on", "vm.recrypt_deep", "vm.on", OFF, REVERT)
"""Operations on the power of a VM; each but the last two ends with it on. The last one says how it
has ended: a snapshot with memory brings a VM to run (VTPM-08)."""
MIGRATE = "vm.migrate"
MOVES = ("vm.move", "vm.restart", MIGRATE)
"""Operations after which a VM is on another host, and on; a migrated one is as it was before."""
RECRYPTS = ("vm.recrypt", "vm.recrypt_deep")
"""Operations after which a VM is under another key."""
TAKEN = ("vm.unregister", "vm.destroy")
"""Operations after which no host has the VM."""
FOLLOWED = frozenset(
    {
        *POWERS,
        *TAKEN,
        "vm.create",
        "vm.clone",
        "vm.snapshot",
        MIGRATE,
        "vm.recrypt",
        "vm.encrypt",
        "vm.unlock",
        "esx.persistence.enable",
        "esx.persistence.disable",
        "host.enter-maintenance",
        "host.exit-maintenance",
        "host.clear-tpm",
        "host.dump",
        "host.dump.read",
        "host.wrong-recovery-key",
        "vsan.mount",
        "key.generate",
    }
)
"""Actions whose effect on what is allowed is known, or seen; after any other it is not."""
SETTLED_S = 60.0
"""Seconds after an operation with an unknown end in which a part of it may still take effect."""


@dataclass
class FoldedVm:
    """One VM.

    ``wanted``: whether its last power command was *on*. ``ran_boot``: the last boot of its host in
    which it is known to have run. ``tries``: what the attempts to start it in this boot could come
    to, while the host makes any.
    """

    host: str = ""
    keys: tuple[str, ...] = ()
    running: bool = False
    locked: bool = False
    missing: tuple[str, ...] = ()
    seq: int = 0  # of the record that says so
    boot: int = -1  # of its host when it said so; never while this host has said nothing of it
    wanted: Known = OPEN
    ran_boot: int = -1
    awaited: bool = False  # it was surely to run when its host's present boot began
    tries: set[Outcome] = field(default_factory=set)
    due: bool = False  # an attempt of this boot must have started it
    open_until: float = -1.0
    under_way: dict[int, bool] = field(default_factory=dict)
    """Power operations, and whether a start could have worked at some time since each began."""
    rekeyed: set[int] = field(default_factory=set)  # operations under way that change its key
    rekeyed_until: float = -1.0  # it may be under a key that its host has not told of
    adrift_until: float = -1.0  # it may be on another host, and off, after a migration
    unmoved: bool = (
        False  # the end of a migration is unknown, and it has not been seen running since
    )
    lost_since: float = math.inf  # its host has failed, and others can start it
    ended_at: float = -1.0  # when the last power operation did
    _last_wanted: bool = False
    _said_wanted: bool = False  # by its host, which repeats itself without a record

    def saw(self, data: dict[str, Any], seq: int) -> None:
        """What its host says of it."""
        first = self.seq == 0
        if not first and data["host"] != self.host:
            self.note_restart_elsewhere()
        self.host, self.keys = str(data["host"]), tuple(data["keys"])
        self.running, self.boot = data["power"] == ON, int(data["boot"])
        self.unmoved &= not self.running
        self.locked, self.missing = data["crypto"] == "locked", tuple(data["missing"])
        self._last_wanted = self._said_wanted = data["wanted"] == ON
        self.seq = seq
        if first and self.open_until < 0 and not self.under_way:
            self.wanted = YES if self._last_wanted else NO

    @property
    def label(self) -> str:
        """``running``, ``off`` or ``locked``."""
        return "running" if self.running else "locked" if self.locked else "off"

    # ---- operations -------------------------------------------------------------------------

    def began(self, number: int) -> None:
        """A power operation is under way."""
        self.under_way[number] = False

    def end(self, number: int, kind: str, now: float, boot: int, *, on: bool = True) -> None:
        """It had its effect (``ok``, in this boot of the host), had none (``fail``), or nobody
        knows (``info``). ``on``: whether it was to leave the VM so."""
        self.under_way.pop(number, None)
        self.ended_at = now
        if kind == "ok":
            self._last_wanted = on  # of an earlier one whose end is unknown: it had its turn before
        if kind == "ok" and not on:
            self.wanted = NO
        elif kind == "ok":
            self.wanted = YES
            self.ran_boot = max(self.ran_boot, boot)
        elif kind == "info":
            self.wanted, self.open_until = OPEN, now + SETTLED_S

    def end_migration(self, number: int, kind: str, now: float) -> None:
        """A migration ended. When nobody knows how, it is on either host, and runs there unless
        one of both has failed (MOB-01)."""
        self.under_way.pop(number, None)
        self.ended_at = now
        if kind == "info":
            self.note_restart_elsewhere()
            self.adrift_until = now + SETTLED_S
            self.unmoved = True

    def end_recrypt(self, number: int, kind: str, now: float) -> None:
        """It is under another key, of which its host tells at the next look, or under its old one;
        or nobody knows."""
        self.rekeyed.discard(number)
        if kind == "info":
            self.rekeyed_until = now + SETTLED_S

    def unsure(self, now: float) -> bool:
        """Whether its key, or its host, may be another than is known."""
        return bool(self.rekeyed) or now <= max(self.rekeyed_until, self.adrift_until)

    def came_to(self, host: str, boot: int) -> None:
        """It runs on this host, in this boot of it, whose word of it is not heard yet."""
        self.host, self.boot, self.ran_boot = host, -1, boot

    def hear_again(self) -> None:
        """Its host was asked after the last operation had ended, and says what it said before."""
        self._last_wanted = self._said_wanted

    def settle(self, now: float) -> None:
        """Some time after an unknown end, the host's own record of the last command tells: what it
        says then, not what it said before."""
        if 0 <= self.open_until <= now and not self.under_way:
            self.wanted = YES if self._last_wanted else NO
            self.open_until = -1.0

    @property
    def to_run(self) -> Known:
        """Whether it is to run, with what is under way."""
        return OPEN if self.under_way else self.wanted

    def host_booted(self, *, others_may_run_it: bool = False) -> None:
        """Its host begins another boot, with the command that it had accepted last.

        It is open whether that host starts the VM with vSphere HA, until a host reports the VM
        (HA-01), and after a migration with an unknown end: only the source may have accepted the
        power-on (MOB-01).
        """
        self.tries.clear()
        self.due = False
        self.awaited = self.to_run == YES and not others_may_run_it and not self.unmoved

    def note_restart_elsewhere(self) -> None:
        """A host tells of it that did not have it: what is known of boots is another host's."""
        self.tries.clear()
        self.due, self.awaited, self.ran_boot = False, False, -1

    def may_have_started(self) -> Known:
        """Whether the attempts of this boot have started it."""
        if self.due:
            return YES
        if not self.awaited:
            return OPEN
        works = {found.letter is Letter.OK for found in self.tries}
        return frozenset(works) or OPEN


def keys_by_host(
    hosts: Mapping[str, FoldedHost], vms: Mapping[str, FoldedVm]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """The keys that each host and its VMs need, by provider."""
    keys = {name: {host.key} for name, host in hosts.items()}
    for vm in vms.values():
        if vm.host in keys:
            keys[vm.host].update(vm.keys)
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, there in keys.items():
        by_provider = found[name] = {}
        for key in sorted(there - {""}):
            provider = key.partition("/")[0]
            by_provider[provider] = (*by_provider.get(provider, ()), key)
    return found
