"""The assertions A01 to A30: one place to touch for one more; and how they are played one after
another, each in labs of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from lab.building.course import Report
from lab.conformance import providers, scenarios, secrecy, trusted, vms
from lab.conformance.bench import Bench, Violated
from lab.schema.answers.experiments import Asserted, AssertionStanding
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError

Play = Callable[[Bench], Awaitable[str] | str]
"""Awaited, or one that blocks."""


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """``play`` finds whether it holds; ``sim_only``: why it cannot on real processes."""

    id: str
    title: str
    play: Play
    sim_only: str = ""


def _row(id: str, title: str, play: Play, sim_only: str = "") -> Assertion:
    return Assertion(id=id, title=title, play=play, sim_only=sim_only)


_HOURS: Final = "virtual time: it is about hours"
_MOMENT: Final = "virtual time: it strikes at a moment"


ASSERTIONS: Final = (
    _row("A01", "no running VM notices who is away", providers.outage_without_reboot, _HOURS),
    _row(
        "A02", "without stored keys a host waits after its reboot", providers.reboot_without_store
    ),
    _row(
        "A03", "with stored keys a host needs nobody after its reboot", providers.reboot_with_store
    ),
    _row("A04", "a key that a host never had is not there after its reboot", providers.never_had),
    _row("A05", "removed stored keys are gone at the next boot", providers.reboot_after_removal),
    _row("A06", "without its TPM a host's disk gives no key", secrecy.without_its_tpm),
    _row(
        "A07",
        "a boot that breaks the sealing policy stops; the recovery key opens",
        secrecy.policy_violated,
    ),
    _row("A08", "a wrong or an old recovery key opens nothing", providers.recovery_keys),
    _row(
        "A09",
        "vCenter's disk has no key of a standard or trusted provider",
        secrecy.vcenter_keeps_none,
    ),
    _row("A10", "a refused, expired or foreign token gets no trusted key", trusted.tokens, _MOMENT),
    _row("A11", "trusted hosts need no vCenter to reboot", trusted.without_vcenters),
    _row("A12", "native: all hosts reboot without vCenter", providers.reboot_without_vcenter),
    _row("A13", "a native provider is used after its backup only", providers.use_after_backup),
    _row("A14", "a key provider is its name", providers.name_is_identity),
    _row("A15", "a lost home key locks a VM, a lost disk key only its start", vms.lose_keys),
    _row("A16", "one key server of two is enough", providers.one_server_of_two),
    _row("A17", "a recrypted VM needs its old key no more", vms.recrypt_vm),
    _row(
        "A18",
        "a deep recrypt is refused while the VM runs or has snapshots",
        vms.deep_recrypt_refused,
    ),
    _row("A19", "a deleted key provider takes nothing from what runs", providers.delete_provider),
    _row("A20", "vSAN hosts get the keys of their disks themselves", vms.who_mounts_disks),
    _row(
        "A21", "after the heal all is as if nothing had happened", scenarios.as_undisturbed, _HOURS
    ),
    _row("A22", "events come in their order", scenarios.in_order),
    _row(
        "A23",
        "the truth table is as observed",
        scenarios.truth_table,
        "`keystead matrix --mode lab`, which plays it",
    ),
    _row(
        "A24",
        "power loss takes the keys since the last hourly save",
        providers.hourly_saves,
        _HOURS,
    ),
    _row("A25", "no host's configuration opens under another's TPM", secrecy.another_hosts_archive),
    _row("A26", "an encrypted VM moves to a host that is safe only", vms.moves_to_safe_hosts),
    _row("A27", "no key travels in clear", secrecy.bus_carries_none),
    _row("A28", "32 key providers, and no 33rd", providers.as_many_as_allowed),
    _row(
        "A29", "a trusted host that is not attested starts no encrypted VM", trusted.keep_unattested
    ),
    _row("A30", "what an attestation must refuse, it refuses", trusted.evidence_refused),
)
"""All thirty, in their order."""


def play_assertions(
    wanted: Sequence[Assertion], bench: Bench, report: Report
) -> tuple[Asserted, ...]:
    """All of them, in their order; blocks."""
    made = []
    for step, one in enumerate(wanted):
        report(f"{one.id} {one.title}", step, len(wanted))
        made.append(_play_assertion(one, _reporting(bench, one, report)))
    return tuple(made)


def _reporting(bench: Bench, one: Assertion, report: Report) -> Bench:
    """What a long play tells of itself is told under its assertion."""

    return msgspec.structs.replace(
        bench, report=lambda text, step, total: report(f"{one.id} {text}", step, total)
    )


def _play_assertion(one: Assertion, bench: Bench) -> Asserted:
    if bench.mode == "lab" and one.sim_only:
        return Asserted(
            id=one.id, title=one.title, standing=AssertionStanding.NOT_AVAILABLE, needs=one.sim_only
        )
    began, standing = time.monotonic(), AssertionStanding.PASS
    try:
        playing = one.play(bench)
        seen = playing if isinstance(playing, str) else asyncio.run(_wait_for(playing))
    except Violated as error:
        standing, seen = AssertionStanding.FAIL, str(error)
    except KeysteadError as error:
        standing, seen = AssertionStanding.FAIL, f"{error.id}: {error}"
    except ProductError as error:
        standing, seen = AssertionStanding.FAIL, f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - began, 1)
    return Asserted(id=one.id, title=one.title, standing=standing, seen=seen, seconds=seconds)


async def _wait_for(playing: Awaitable[str]) -> str:
    return await playing
