"""The assertions A01 to A30: one place to touch for one more.

A *play* makes labs of its bench, does what the assertion is about, and looks; it answers with what
was seen in few words, or raises ``Violated``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from lab.conformance import (
    firmware,
    grid,
    healing,
    native,
    providers,
    searches,
    standard,
    store,
    told,
    trusted,
    vms,
    vsan,
)
from lab.conformance.bench import Bench

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
    _row("A01", "no running VM notices who is away", standard.outage_without_reboot, _HOURS),
    _row("A02", "without stored keys a host waits after its reboot", standard.reboot_without_store),
    _row("A03", "with stored keys a host needs nobody after its reboot", store.reboot_with_store),
    _row("A04", "a key that a host never had is not there after its reboot", store.never_had),
    _row("A05", "removed stored keys are gone at the next boot", store.reboot_after_removal),
    _row("A06", "without its TPM a host's disk gives no key", firmware.without_its_tpm),
    _row(
        "A07",
        "a boot that breaks the sealing policy stops; the recovery key opens",
        firmware.policy_violated,
    ),
    _row("A08", "a wrong or an old recovery key opens nothing", store.recovery_keys),
    _row(
        "A09",
        "vCenter's disk has no key of a standard or trusted provider",
        searches.vcenter_keeps_none,
    ),
    _row("A10", "a refused, expired or foreign token gets no trusted key", trusted.tokens, _MOMENT),
    _row("A11", "trusted hosts need no vCenter to reboot", trusted.without_vcenters),
    _row("A12", "native: all hosts reboot without vCenter", native.reboot_without_vcenter),
    _row("A13", "a native provider is used after its backup only", native.use_after_backup),
    _row("A14", "a key provider is its name", providers.name_is_identity),
    _row("A15", "a lost home key locks a VM, a lost disk key only its start", vms.lose_keys),
    _row("A16", "one key server of two is enough", standard.one_server_of_two),
    _row("A17", "a recrypted VM needs its old key no more", vms.recrypt_vm),
    _row(
        "A18",
        "a deep recrypt is refused while the VM runs or has snapshots",
        vms.deep_recrypt_refused,
    ),
    _row("A19", "a deleted key provider takes nothing from what runs", providers.delete_provider),
    _row("A20", "vSAN hosts get the keys of their disks themselves", vsan.who_mounts_disks),
    _row("A21", "after the heal all is as if nothing had happened", healing.as_undisturbed, _HOURS),
    _row("A22", "events come in their order", told.in_order),
    _row(
        "A23",
        "the truth table is as observed",
        grid.truth_table,
        "`keystead matrix --mode lab`, which plays it",
    ),
    _row("A24", "power loss takes the keys since the last hourly save", store.hourly_saves, _HOURS),
    _row(
        "A25", "no host's configuration opens under another's TPM", firmware.another_hosts_archive
    ),
    _row("A26", "an encrypted VM moves to a host that is safe only", vms.moves_to_safe_hosts),
    _row("A27", "no key travels in clear", searches.bus_carries_none),
    _row("A28", "32 key providers, and no 33rd", providers.as_many_as_allowed),
    _row(
        "A29", "a trusted host that is not attested starts no encrypted VM", trusted.keep_unattested
    ),
    _row("A30", "what an attestation must refuse, it refuses", trusted.evidence_refused),
)
"""All thirty, in their order."""
