"""Planted bugs that campaigns of random faults have found, and the runs that are left of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parents[1] / "corpus"
MOST_FAULTS: Final = 3


@dataclass(frozen=True)
class Found:
    """``bug`` of ``tests/mutations/bugs`` was found by ``seed`` of the campaign that the options
    name. In what is left of that run ``check`` must fail, and ``tells`` is a part of its words."""

    bug: str
    seed: int
    check: str
    tells: str
    options: str = ""

    @property
    def path(self) -> Path:
        """The file of the corpus that is left of the run."""
        return CORPUS / f"{self.bug.replace('_', '-')}.yaml"


_OFF: Final = "--no-persistence"
_BOOTS: Final = f"{_OFF} --kinds host.reboot --kinds host.power_loss --kinds link.cut"
_CUT: Final = f"{_OFF} --kinds link.cut --kinds host.power_loss"
_LEFT: Final = "in the disk esxi-001/synced/leak.bin"
FOUND: Final = (
    Found("persistence_unsynced", 0, "recovery_bound", "vm-04 had to run by"),
    Found("kms_answers_early", 5, "acked_key_recoverable", "1 of 1 lost"),
    Found("vcenter_answers_early", 5, "acked_key_recoverable", "1 of 1 lost"),
    Found("no_autostart", 0, "truth_table", "vm-04 is off at"),
    Found("key_leaks", 0, "no_plaintext_key", _LEFT),
    Found("unseal_ignores_pcrs", 53, "no_unseal_under_changed_pcr", "esxi-002 (boot 2)"),
    Found("retry_storm", 4, "no_livelock", "requests per host and minute, most of them by"),
    Found("creates_made_twice", 3, "one_effect", "kms made 2 keys for", "--kinds link.dup"),
    Found("cut_stays", 1, "acked_key_recoverable", "1 of 1 lost", _CUT),
    Found("keys_sent_elsewhere", 11, "truth_table", "vm-02 is locked at", _BOOTS),
    Found("cache_survives_reboot", 16, "truth_table", "esxi-001 is safe at", _OFF),
    Found("lock_untold", 0, "lock_told", "was locked, and no event told of it", _OFF),
)
