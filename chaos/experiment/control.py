"""The negative control: with a planted bug exactly the named checks and probes fail."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome
from chaos.verdict import Exit, Verdict

_JUDGED = (Exit.FAILED, Exit.NOT_RECOVERED)


def unlike(verdict: Verdict, expect: Sequence[str]) -> str:
    """Why the run is not what its file says of it; empty when it is.

    ``expect``: names of checks, and of probes in whichever phase they failed.
    """
    if verdict.exit_code not in _JUDGED:
        why = f": {verdict.reasons[0]}" if verdict.reasons else ""
        return f"nothing failed: the verdict is {verdict.verdict}{why}"
    failed = {_name(c.name) for c in verdict.checks if c.result is CheckOutcome.FAIL}
    missing = [name for name in expect if name not in failed]
    others = sorted(failed - set(expect))
    parts = [f"did not fail: {', '.join(missing)}"] if missing else []
    parts += [f"failed too: {', '.join(others)}"] if others else []
    return "; ".join(parts)


def _name(told: str) -> str:
    """A check's name, or the probe's in ``after vm.running >= 1``."""
    words = told.split()
    return words[1] if len(words) > 1 and words[0] in ("before", "during", "after") else told
