"""Planted bugs that campaigns of random faults have found, and the runs that are left of them;
defects that once were in the code, and the schedules that show them when a repair is taken out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from chaos.experiment.generate import Mix
from lab.fuzz.world import CampaignWorld

CORPUS: Final = Path(__file__).parents[1] / "corpus"
MOST_FAULTS: Final = 3
MOST_RUNS: Final = 200
MOST_SEEDS: Final = 2000


_ANY: Final = CampaignWorld()


@dataclass(frozen=True)
class Found:
    """``bug`` of ``tests/mutations/bugs`` was found by ``seed`` of the campaign in ``world``, the
    first of its seeds that shows it. In what is left of that run ``check`` must fail, and ``tells``
    is a part of its words; an error of the harness is named by its id.

    ``seed`` None: a defect of the past, of which the file has the story.
    """

    bug: str
    seed: int | None
    check: str
    tells: str
    world: CampaignWorld = _ANY

    @property
    def path(self) -> Path:
        """The file of the corpus that is left of the run."""
        return CORPUS / f"{self.bug.replace('_', '-')}.yaml"

    @property
    def patch(self) -> str:
        """What ``--patch`` of a campaign names."""
        return f"tests.mutations.bugs:{self.bug}"

    @property
    def planted(self) -> CampaignWorld:
        """The world of the campaign, with the bug."""
        return msgspec.structs.replace(self.world, patch=self.patch)


_OFF: Final = CampaignWorld(persistence=False)
_BOOTS: Final = CampaignWorld(
    persistence=False, mix=Mix(kinds=("host.reboot", "host.power_loss", "link.cut"))
)
_OUTAGES: Final = CampaignWorld(
    persistence=False,
    mix=Mix(
        kinds=(
            *("link.cut", "proc.kill", "proc.pause"),
            *("host.reboot", "host.power_loss", "vcenter.down"),
        )
    ),
)
_MEASURED: Final = CampaignWorld(mix=Mix(kinds=("host.boot_measure", "host.power_loss")))
_CUT: Final = CampaignWorld(persistence=False, mix=Mix(kinds=("link.cut", "host.power_loss")))
_DUP: Final = CampaignWorld(mix=Mix(kinds=("link.dup",)))
_NATIVE: Final = CampaignWorld(lab="native")
_TWO: Final = CampaignWorld(lab="two-vcenters", persistence=False)
_LEFT: Final = "services.kms.operations.key_creation:_key (repr) in the database"
FOUND: Final = (
    Found("persistence_unsynced", 15, "recovery_bound", "vm-04 had to run by"),
    Found("kms_answers_early", 6, "acked_key_recoverable", "1 of 1 lost"),
    Found("vcenter_answers_early", 6, "acked_key_recoverable", "1 of 1 lost"),
    Found("no_autostart", 0, "truth_table", "vm-04 is off at"),
    Found("key_leaks", 0, "no_plaintext_key", _LEFT),
    Found("unseal_ignores_pcrs", 22, "no_unseal_under_changed_pcr", "esxi-002 (boot 2)", _MEASURED),
    Found("retry_storm", 0, "no_livelock", "requests per host and minute, most of them by"),
    Found("creates_made_twice", 2, "one_effect", "kms made 2 keys for", _DUP),
    Found("cut_stays", 0, "acked_key_recoverable", "1 of 1 lost", _CUT),
    Found("keys_sent_elsewhere", 0, "truth_table", "vm-02 is locked at", _BOOTS),
    Found("cache_survives_reboot", 17, "truth_table", "esxi-001 is safe at", _OFF),
    Found("lock_untold", 17, "lock_told", "was locked, and no event told of it", _OFF),
    Found("outage_untold", 0, "told_in_order", "before a provider is unreachable", _OUTAGES),
    Found("alarm_never_clears", 0, "alarms_have_causes", "alarm.VmLocked stands", _OUTAGES),
    Found("lock_kept_after_failed_start", 8, "lock_given_back", "runs nowhere", _OFF),
    Found("lease_never_lapses", 9, "KS-CHAOS-202", "s after the end of its lease"),
    Found("power_turn_gone", 6, "accepted_order_kept", " is powered"),
    Found("removed_in_memory_only", 1, "nothing_left", " keys in "),
    Found("store_keeps_removed", 1, "given_up_keys_gone", "in its store"),
    Found("old_session_accepted", 60, "session_in_force", "did Host"),
    Found("kill_powers_on_others", None, "truth_table", "no new key is allowed by R12"),
    Found("memory_in_clear", None, "no_plaintext_key", "in the datastore"),
    Found("second_vcenter_brings_nothing", 2, "truth_table", " is locked at", _TWO),
    Found("left_vm_comes_back", 14, "one_vcenter_per_vm", "at vcenter-a and at vcenter-b", _TWO),
    Found("derived_key_outlives_eviction", None, "truth_table", "is started at", _NATIVE),
)
