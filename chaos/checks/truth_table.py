"""Each host and VM always had a state that the rules allow under the current faults, except for a
grace period after each change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.states import judge_states
from chaos.history import Record

NOT_REASONED: Final[Mapping[str, Any]] = {
    "auto_unlock": True,
    "failover_on_missing": False,
    "store_follows_cache": True,
    "unattested_blocks": "encrypted",
    "vc_key_cache_s": 0.0,
}
"""Knobs whose other answers make a host or VM something else than the oracle knows, by default."""


def truth_table(records: Sequence[Record]) -> Finding:
    """Pass when no look of the run found a host or VM in a state that ``chaos.oracle`` does not
    allow.

    Unknown when nothing was looked at, when nothing was ever wrong in the run, and for a lab whose
    knobs the oracle does not model.
    """
    if other := _not_reasoned(records):
        text = f"the oracle does not reason about {', '.join(other)} at another value than usual"
        return Finding(CheckOutcome.UNKNOWN, text)
    found = judge_states(records)
    if found.breaches:
        text = "; ".join(str(breach) for breach in found.breaches[:5])
        more = len(found.breaches) - 5
        text += f"; and {more} more" if more > 0 else ""
        return Finding(CheckOutcome.FAIL, text, tuple(breach.seq for breach in found.breaches))
    if found.lost:
        text = f"the oracle does not know what {found.lost} leads to; it was followed until then"
        return Finding(CheckOutcome.UNKNOWN, text)
    if not found.looks:
        return Finding(CheckOutcome.UNKNOWN, "no host was looked at")
    if not (found.faults or found.acts):
        return Finding(CheckOutcome.UNKNOWN, "nothing was wrong in this run")
    acts = f" and {found.acts} acts of administrators" if found.acts else ""
    return Finding(CheckOutcome.PASS, f"{found.looks} looks under {found.faults} faults{acts}")


def _not_reasoned(records: Sequence[Record]) -> list[str]:
    """The knobs of the lab that the oracle knows at their defaults only, and are not there."""
    stagings = (one for one in records if one.type == "state" and one.op == "staging")
    staged = next((one.data for one in stagings), {})
    knobs: Mapping[str, Any] = staged.get("knobs", {})
    return [name for name, usual in NOT_REASONED.items() if knobs.get(name, usual) != usual]
