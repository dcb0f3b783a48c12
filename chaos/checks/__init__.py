"""Offline checks: pure functions of a history, three-valued, re-runnable on a stored run.

One file per check, one line in ``_CHECKS``. A check that had nothing to look at is ``unknown``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.checks.accepted_order_kept import accepted_order_kept
from chaos.checks.alarms_have_causes import alarms_have_causes
from chaos.checks.done_as_asked import done_as_asked
from chaos.checks.keys.acked_key_recoverable import acked_key_recoverable
from chaos.checks.keys.given_up_keys_gone import given_up_keys_gone
from chaos.checks.keys.no_plaintext_key import no_plaintext_key
from chaos.checks.keys.nothing_left import nothing_left
from chaos.checks.keys.one_key_one_value import one_key_one_value
from chaos.checks.keys.only_given_keys import only_given_keys
from chaos.checks.keys.replicas_agree import replicas_agree
from chaos.checks.keys.retired_provider_unused import retired_provider_unused
from chaos.checks.needs_no_kms import needs_no_kms
from chaos.checks.no_fault_left import no_fault_left
from chaos.checks.no_internal_error import no_internal_error
from chaos.checks.no_livelock import no_livelock
from chaos.checks.no_needless_outage import no_needless_outage
from chaos.checks.no_unseal_under_changed_pcr import no_unseal_under_changed_pcr
from chaos.checks.one_effect import one_effect
from chaos.checks.recovery_bound import recovery_bound
from chaos.checks.result import CheckOutcome, CheckResult, Finding
from chaos.checks.session_in_force import session_in_force
from chaos.checks.shown_as_it_is import shown_as_it_is
from chaos.checks.told_in_order import told_in_order
from chaos.checks.tpm_sane import tpm_sane
from chaos.checks.truth_table import truth_table
from chaos.checks.vms.acked_vm_known import acked_vm_known
from chaos.checks.vms.guests_read_back import guests_read_back
from chaos.checks.vms.lock_given_back import lock_given_back
from chaos.checks.vms.lock_told import lock_told
from chaos.checks.vms.one_host_per_vm import one_host_per_vm
from chaos.checks.vms.one_vcenter_per_vm import one_vcenter_per_vm
from chaos.checks.vms.power_as_commanded import power_as_commanded
from chaos.checks.works_in_quiet import works_in_quiet
from chaos.history import FULL, Record


@dataclass(frozen=True)
class RunCheck:
    """A check, named after its function. ``invariant``: its number among the safety (S) and
    liveness (L) invariants, or empty.

    ``always``: it judges every run; an experiment names the others. ``shy``: in a run that never
    tried its subject, its ``unknown`` does not make the run unknown.
    """

    judge: Callable[[Sequence[Record]], Finding]
    invariant: str = ""
    always: bool = True
    shy: bool = True

    @property
    def name(self) -> str:
        """The name in files and verdicts."""
        return self.judge.__name__

    @property
    def statement(self) -> str:
        """What it requires of a run, in one or two sentences."""
        text = inspect.getdoc(inspect.getmodule(self.judge)) or ""
        return " ".join(text.split("\n\n")[0].replace("``", "`").split())


_CHECKS: Final = (
    RunCheck(no_plaintext_key, "S1"),
    RunCheck(no_internal_error, "S10", shy=False),
    RunCheck(one_effect, "S10"),
    RunCheck(power_as_commanded, "S10"),
    RunCheck(one_host_per_vm),
    RunCheck(one_vcenter_per_vm),
    RunCheck(only_given_keys),
    RunCheck(no_fault_left, shy=False),
    RunCheck(acked_key_recoverable, "S4"),
    RunCheck(one_key_one_value, "S5"),
    RunCheck(replicas_agree, "S5"),
    RunCheck(nothing_left, "S6"),
    RunCheck(given_up_keys_gone),
    RunCheck(acked_vm_known),
    RunCheck(accepted_order_kept),
    RunCheck(lock_told),
    RunCheck(told_in_order),
    RunCheck(alarms_have_causes),
    RunCheck(shown_as_it_is),
    RunCheck(lock_given_back),
    RunCheck(session_in_force),
    RunCheck(guests_read_back),
    RunCheck(no_unseal_under_changed_pcr, "S3"),
    RunCheck(tpm_sane, "S11"),
    RunCheck(no_livelock, "L3"),
    RunCheck(truth_table, "L1"),
    RunCheck(recovery_bound, "L2"),
    RunCheck(works_in_quiet),
    RunCheck(done_as_asked),
    RunCheck(no_needless_outage, "L5"),
    RunCheck(needs_no_kms, always=False, shy=False),
    RunCheck(retired_provider_unused, always=False, shy=False),
)
CHECKS: Final = {check.name: check for check in _CHECKS}
ALWAYS: Final = tuple(check.name for check in _CHECKS if check.always)
"""Judged in every run. The others are for files to add."""
OPTIONAL_WITNESS: Final = frozenset(check.name for check in _CHECKS if check.shy)


def checks_excused(*, faulted: bool) -> frozenset[str]:
    """Checks that may be unknown without making a run unknown; ``faulted``: the run planned
    faults."""
    return OPTIONAL_WITNESS if faulted else OPTIONAL_WITNESS | {"no_fault_left"}


def arrange(
    results: Sequence[CheckResult], *, faulted: bool
) -> tuple[tuple[CheckResult, ...], tuple[CheckResult, ...]]:
    """Results in the order of a report: hypotheses, then checks. Second, the checks that had
    nothing to judge and do not count against the run. ``faulted`` as for ``checks_excused``."""
    excused = checks_excused(faulted=faulted)
    idle = [one for one in results if one.result is CheckOutcome.UNKNOWN and one.name in excused]
    shown = sorted((one for one in results if one not in idle), key=lambda one: one.name in CHECKS)
    return tuple(shown), tuple(idle)


def judge(names: Sequence[str], records: Sequence[Record]) -> tuple[CheckResult, ...]:
    """The result of each check in ``names`` over the records, in that order.

    Nothing passes over a history that reached its limit: the records left out may contain
    violations. ``KeyError`` for a name that is no check.
    """
    full = next((r for r in records if r.type == "note" and r.op == FULL), None)
    results = []
    for name in names:
        found = CHECKS[name].judge(records)
        if full is not None and found.result is CheckOutcome.PASS:
            text = f"from record {full.seq} on the history was full; until then: {found.text}"
            found = Finding(CheckOutcome.UNKNOWN, text)
        results.append(
            CheckResult(name=name, result=found.result, text=found.text, records=found.records)
        )
    return tuple(results)
