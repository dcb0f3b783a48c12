"""The report of a run as one HTML file: nothing in it asks a network, and it reads without
scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from chaos.checks.result import CheckOutcome
from chaos.history import Record
from chaos.report.availability import MOST_ROWS, availability, headline
from chaos.report.compare import compare_runs, tell_differences
from chaos.report.filling import fill_template
from chaos.report.latency import figures, samples
from chaos.report.outcomes import ReportedOutcome, outcomes, select_judged, select_unexercised
from chaos.report.phases import Band, RunPhases, bands, phases
from chaos.report.plots import hypotheses_plot, latency_plot, looks_of, work_of, work_plots
from chaos.report.shapes import moment
from chaos.report.story import Story, schedule_digest
from chaos.report.timeline import timeline
from chaos.report.topology import topology

MOST_RECORDS: Final = 4000
"""Of a longer history those are in the page that tell of faults, states and violations, then the
first of the rest."""
_MODES: Final = {"sim": "sim, virtual time", "lab": "lab, real processes"}
_ORDER: Final = (CheckOutcome.FAIL, CheckOutcome.UNKNOWN, CheckOutcome.PASS)
_TOLD: Final = frozenset({"fault", "heal", "state", "note", "end"})


def page(story: Story, load: Mapping[str, Any] | None = None) -> str:
    """The report of one run; ``load``: the values of ``load_parts.html`` for one with a load."""
    values = {**_parts(story), "load": load}
    return fill_template("report.html", values, title=f"{story.run}: {story.word}")


def pair(a: Story, b: Story) -> str:
    """The report of two runs beside each other."""
    seconds = max(a.drawn, b.drawn)
    both = [
        {**_facts(story), "timeline": timeline(story, outcomes(story), seconds)} for story in (a, b)
    ]
    told = tell_differences(a, b)
    values = {"runs": both, "difference": compare_runs(a, b), "told": told}
    return fill_template("compare.html", values, title=f"{a.run} and {b.run}")


def _parts(story: Story) -> dict[str, Any]:
    found = outcomes(story)
    shown, left_out = select_records(story.records, found)
    away, always = availability(story)
    return {
        **_facts(story),
        "timeline": timeline(story, found),
        "states": _states(story),
        "away": away[:MOST_ROWS],
        "away_more": len(away) - MOST_ROWS,
        "always": always,
        "latency": latency_plot(story),
        "work": work_plots(story),
        "workers": looks_of(work_of(story.records)),
        "figures": figures(samples(story.records)),
        "phases": _phases(phases(story.records), story.seconds),
        "outcomes": sorted(select_judged(found), key=_rank),
        "not_judged": select_unexercised(found),
        "counts": {
            word.value: sum(o.result is word for o in select_judged(found)) for word in _ORDER
        },
        "schedule": _schedule(story, bands(story.records)),
        "hypotheses": hypotheses_plot(story),
        "topology": topology(story),
        "records": shown,
        "left_out": left_out,
        "violating": {seq for outcome in found if outcome.scene for seq in outcome.records},
    }


def _rank(outcome: ReportedOutcome) -> int:
    """Failed ones first, then unknown ones; hypotheses of the experiment stand before checks."""
    return _ORDER.index(outcome.result)


def _facts(story: Story) -> dict[str, Any]:
    verdict = story.verdict
    began = datetime.fromtimestamp(story.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    hosts = sum(str(entry.role) == "esxi" for entry in story.directory.nodes)
    facts = {
        "run": story.run,
        "experiment": story.plan.name,
        "mode": _MODES.get(story.mode, story.mode),
        "seed": story.plan.seed,
        "lab": f"{hosts} hosts, {len(story.directory.vms)} VMs",
        "TPM": verdict.tpm_text if verdict and verdict.tpms else story.tpm,
        "lab time": moment(round(story.seconds, 1)),
        "began": began,
    }
    origin = {
        "code": story.code,
        "Python": story.python,
        "schedule": schedule_digest(story.plan),
        "trace": verdict.trace_hash if verdict else "",
        "replay of": story.replay_of,
        "fork of": f"{story.fork_of} at {moment(story.fork_at)}" if story.fork_of else "",
    }
    told = {"facts": _drop_empty(facts), "origin": _drop_empty(origin)}
    return {"story": story, "headline": headline(story), **told}


def _drop_empty(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value != ""}


def _states(story: Story) -> list[str]:
    seen = {str(record.data.get("state", "")) for record in story.records if record.op == "node"}
    told = ["running", "off", "locked", "safe", "prepared", "booting", "down", "unknown"]
    return told + (["halted"] if "halted" in seen else [])


def _phases(found: RunPhases, seconds: float) -> list[tuple[str, str]]:
    """Names of the phases that there were, with when each was."""
    begins = [("before", 0.0), ("fault", found.fault), ("heal", found.heal), ("after", found.after)]
    there = [(name, t) for name, t in begins if t <= seconds]
    ends = [*(t for _, t in there[1:]), seconds]
    return [
        (name, f"{moment(round(t, 1))} to {moment(round(end, 1))}")
        for (name, t), end in zip(there, ends, strict=True)
        if end - t >= 0.05
    ]


def _schedule(story: Story, made: Sequence[Band]) -> list[dict[str, Any]]:
    """Each planned fault with what came of it, then what was made and never planned."""
    begun = {band.id: band for band in made}
    planned = [
        {
            "id": fault.id,
            "kind": fault.kind,
            "planned": _interval(fault.at, fault.until),
            "band": begun.pop(fault.id, None),
        }
        for fault in story.plan.faults
    ]
    rest = [
        {"id": band.id, "kind": band.kind, "planned": "", "band": band} for band in begun.values()
    ]
    return planned + rest


def _interval(at: float, until: float | None) -> str:
    return f"{moment(at)} to {'the end' if until is None else moment(until)}"


def select_records(
    records: Sequence[Record], found: Sequence[ReportedOutcome]
) -> tuple[tuple[Record, ...], int]:
    """The records that a page shows, in order, and how many it leaves out."""
    if len(records) <= MOST_RECORDS:
        return tuple(records), 0
    kept = {
        seq
        for outcome in found
        if outcome.scene
        for seq in (*outcome.records, *(record.seq for record in outcome.scene.records))
    }
    first = sorted(records, key=lambda r: (r.seq not in kept, r.type not in _TOLD, r.seq))
    shown = sorted(first[:MOST_RECORDS], key=lambda record: record.seq)
    return tuple(shown), len(records) - len(shown)
