"""The negative control: with a planted bug exactly the named checks and probes fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chaos.checks.result import CheckOutcome
from chaos.verdict import Exit, Verdict

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
