"""Loads of experiments: the report of a run's load, from its plan and history, and the file of an
experiment that is a load and nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from chaos.experiment.plan import Plan
from chaos.history import Record as Line
from chaos.load.arrivals import Arrivals, Spread
from chaos.playing.load import BEGUN, Came, came, changes
from chaos.verdict import Verdict
from lab.load.generator import LoadRecord
from lab.load.report import LATE_S, LoadTerms, build_report
from lab.runs.store import RunRecord
from lab.schema.answers.load import LoadChange, LoadReport


@dataclass
class _Offered:
    """See ``LoadProgress``."""

    record: LoadRecord
    begun: int = 0
    offered_s: float = 0.0


def _build_offer(found: Sequence[Came], arrivals: Arrivals) -> tuple[_Offered, float]:
    """What came of each, and when the last one had ended."""
    offer = _Offered(LoadRecord(len(found)))
    ended = 0.0
    for number, one in enumerate(found):
        if one.late is None:  # the run was over before its turn came
            continue
        offer.begun = number + 1
        offer.offered_s = arrivals.at[number] + one.late
        offer.record.late[number] = one.late
        offer.record.end(number, one.took, one.error)
        ended = max(ended, arrivals.at[number] + one.took)
    return offer, ended


def _end_fact(verdict: Verdict | None, *, begun: bool) -> dict[str, str]:
    """A fact where it is another than that the load was over."""
    if verdict is None:
        return {"ended": "not by itself: that is what there is"}
    return {} if begun else {"ended": "before it began: nothing was offered"}


def load_report(
    run: RunRecord,
    plan: Plan,
    records: Sequence[Line],
    verdict: Verdict | None,
    *,
    pace: float,
) -> LoadReport | None:
    """What a load came to; None for a run without one. Its verdict is that of the run.

    ``pace``: lab seconds in one second of the generator, which is as late as any process here.
    """
    load = plan.load
    if load is None:
        return None
    found = came(plan, records)
    words = tuple(load.mix)
    arrivals = Arrivals(
        words,
        array("d", (one.arrival.at - load.from_s for one in found)),
        array("B", (words.index(load.word_of(one.arrival.op)) for one in found)),
        array("H", bytes(2 * len(found))),
    )
    offer, ended = _build_offer(found, arrivals)
    asked = LoadTerms(
        target=f"{plan.name}, {run.mode}",
        rate=f"{load.rate} for {load.for_}" if load.for_ else load.rate,
        mix=load.mix,
        spread=Spread(load.arrivals),
        seed=plan.seed,
        warmup=load.warmup_s,
        length=load.length_s,
        thresholds=load.limits(),
        outstanding=0,
        late_s=LATE_S * pace,
    )
    entries = len(plan.faults) + len(plan.actions)
    return build_report(
        asked,
        arrivals,
        offer,
        ended_s=ended,
        cpu_s=None,
        interrupted=verdict is None or verdict.verdict == "interrupted",
        verdict="" if verdict is None else verdict.verdict,
        facts={
            "mode": run.mode,
            "pace": f"{pace:g}",
            "faults and actions": str(entries),
            **_end_fact(verdict, begun=any(r.type == "note" and r.op == BEGUN for r in records)),
        },
        changes=[
            LoadChange(at=round(at - load.from_s, 3), rate=rate) for at, rate in changes(records)
        ],
    )


NAME: Final = "load"


def experiment(
    lab: str,
    changes: dict[str, Any],
    load: dict[str, Any],
) -> str:
    """The text of one on a lab file with ``changes``: all VMs run before it, where there shall be
    any, and nothing of the lab is worse after it."""
    before = [{"probe": "vm.running", "is": "== 100%", "within": "60s"}]
    whole = {
        "apiVersion": "keystead/v1",
        "kind": "Experiment",
        "name": NAME,
        "title": f"A load of {load['rate']}",
        "topology": {"use": lab, **({"with": changes} if changes else {})},
        "load": load,
        "hypothesis": {
            **({"before": before} if changes.get("vms") != 0 else {}),
            "recover": {"within": "60s"},
            "after": [{"probe": "host.connected", "is": "== 100%"}],
        },
        "guards": {"max_duration": "24h"},
        "schedule": [],
    }
    text: str = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)
    return text
