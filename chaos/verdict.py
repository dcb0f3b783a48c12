"""How a run ended: one exit code per class, and why.

With a planted bug (the negative control) exactly the named checks and probes must fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

import msgspec

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.keeper import StillThere
from chaos.selectors import in_short
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName

REQUIRES = "requires"  # the name under which a lab that does not fit a plan is judged


class Exit(IntEnum):
    """Exit codes of ``chaos run`` and ``chaos replay``."""

    PASS = 0
    FAILED = 1
    UNKNOWN = 2
    NOT_STEADY = 3
    BAD_FILE = 4
    HARNESS = 5
    NOT_RECOVERED = 6
    INTERRUPTED = 130


WORDS = {
    Exit.PASS: "pass",
    Exit.FAILED: "fail",
    Exit.UNKNOWN: "unknown",
    Exit.NOT_STEADY: "not steady",
    Exit.BAD_FILE: "bad file",
    Exit.HARNESS: "error",
    Exit.NOT_RECOVERED: "fail",
    Exit.INTERRUPTED: "interrupted",
}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a run; ``-o json`` prints it.

    ``checks``: hypotheses, then checks. ``left``: faults without an undo. ``began`` and ``ended``
    in lab seconds. ``tpms``: the kinds of TPM under the hosts; a verdict on ``model`` is not one on
    a real TPM. ``tpm_hosts``: the hosts of each kind where they differ, else empty.
    """

    verdict: str
    exit_code: int
    seed: int
    trace_hash: str
    run: str
    tpms: tuple[TpmBackend, ...] = ()
    tpm_hosts: dict[TpmBackend, tuple[NodeName, ...]] = {}
    checks: tuple[CheckResult, ...]
    reasons: tuple[str, ...] = ()
    left: tuple[StillThere, ...] = ()
    began: float = 0.0
    ended: float = 0.0

    @property
    def tpm_text(self) -> str:
        """The kinds of TPM under its hosts, with the hosts' names where they differ."""
        return tpm_text(self.tpms, self.tpm_hosts)


def hosts_by_tpm(
    tpms: Mapping[NodeName, TpmBackend],
) -> dict[TpmBackend, tuple[NodeName, ...]]:
    """The hosts with each kind of TPM; empty where all have the same."""
    kinds = sorted(set(tpms.values()))
    if len(kinds) < 2:
        return {}
    return {kind: tuple(sorted(host for host in tpms if tpms[host] is kind)) for kind in kinds}


def tpm_text(tpms: Sequence[str], hosts: Mapping[TpmBackend, Sequence[NodeName]]) -> str:
    """The kinds of TPM under the hosts of a lab: ``libtpms``, or ``libtpms under esxi-001, none
    under esxi-[002-003]``."""
    if not hosts:
        return ", ".join(tpms)
    return ", ".join(f"{kind} under {' '.join(in_short(hosts[kind]))}" for kind in hosts)


def exit_of(
    *,
    interrupted: bool,
    harness: Sequence[str],
    steady: bool,
    judged: Sequence[CheckResult],
    recovery: Sequence[CheckResult],
    excused: frozenset[str],
) -> Exit:
    """The exit code of a run, the worst class first. ``recovery``: hypotheses under a recovery
    bound. ``excused``: may be unknown without making the run unknown."""
    if interrupted:
        return Exit.INTERRUPTED
    if harness:
        return Exit.HARNESS
    if not steady:
        return Exit.NOT_STEADY
    if any(check.result is CheckOutcome.FAIL for check in judged):
        return Exit.FAILED
    if any(check.result is CheckOutcome.FAIL for check in recovery):
        return Exit.NOT_RECOVERED
    unknown = [c for c in (*judged, *recovery) if c.result is CheckOutcome.UNKNOWN]
    if any(check.name not in excused for check in unknown):
        return Exit.UNKNOWN
    return Exit.PASS


def reasons_of(code: Exit, results: Sequence[CheckResult]) -> tuple[str, ...]:
    """The reasons for a run's result; empty for one that passed."""
    if code is Exit.PASS:
        return ()
    bad = [r for r in results if r.result is CheckOutcome.FAIL] or [
        r for r in results if r.result is CheckOutcome.UNKNOWN
    ]
    prefix = ""
    if code is Exit.NOT_STEADY:
        misfit = any(r.name == REQUIRES for r in bad)
        prefix = "KS-CHAOS-015: " if misfit else "KS-CHAOS-201: "
    return tuple(f"{prefix}{r.name}: {r.text}" for r in bad)


MUST: Final = "must"
"""What is expected of a bug with which an action ends otherwise than the file says it must."""
_ENDED_OTHERWISE: Final = "KS-CHAOS-110: "
_JUDGED = (Exit.FAILED, Exit.NOT_RECOVERED)


def unlike(verdict: Verdict, expect: Sequence[str]) -> str:
    """Why the run is not what its file says of it; empty when it is.

    ``expect``: names of checks, and of probes in whichever phase they failed; or ``must``, which
    ends a run before all is judged.
    """
    failed = {_name(c.name) for c in verdict.checks if c.result is CheckOutcome.FAIL}
    if _ended_otherwise(verdict):
        failed.add(MUST)
    elif verdict.exit_code not in _JUDGED:
        why = f": {verdict.reasons[0]}" if verdict.reasons else ""
        return f"nothing failed: the verdict is {verdict.verdict}{why}"
    missing = [name for name in expect if name not in failed]
    others = sorted(failed - set(expect))
    parts = [f"did not fail: {', '.join(missing)}"] if missing else []
    parts += [f"failed too: {', '.join(others)}"] if others else []
    return "; ".join(parts)


def _ended_otherwise(verdict: Verdict) -> bool:
    """Whether the run was given up because of such an action, and of nothing else."""
    told = verdict.reasons
    return bool(told) and all(reason.startswith(_ENDED_OTHERWISE) for reason in told)


def _name(told: str) -> str:
    """A check's name, or the probe's in ``after vm.running >= 1``."""
    words = told.split()
    return words[1] if len(words) > 1 and words[0] in ("before", "during", "after") else told
