"""A load as one HTML file, or two beside each other: nothing in it asks a network."""

from __future__ import annotations

from typing import Any

from chaos.report.axis import moment
from chaos.report.filling import fill_template
from lab.load.pictures import latency, lines, percentiles, rates
from lab.schema.answers.load import LoadComparison, LoadReport


def page(report: LoadReport) -> str:
    """The report of one load."""
    own = report.generator
    facts: dict[str, Any] = {
        "run": report.run or "not kept",
        "target": report.target,
        "rate": report.rate,
        "mix": ", ".join(f"{name} {weight}" for name, weight in report.mix.items()),
        "arrivals": f"{report.spread}, seed {report.seed}",
        "measured": f"{report.seconds:g} s",
        "drawn": f"{own.drawn} ({own.drawn_per_s:g}/s)",
        "begun late": f"{own.late} (p99 {own.late_p99_ms:g} ms, max {own.late_max_ms:g} ms)",
        **report.facts,
    }
    if own.outstanding:
        facts["held"] = f"{own.held} by {own.outstanding} under way"
    if report.changes:
        facts["rate changed"] = "; ".join(
            f"to {one.rate} at {moment(one.at)}" for one in report.changes
        )
    if own.cpu_share is not None:
        facts["own CPU"] = f"{own.cpu_share * 100:.0f} % of a core"
    values = {"report": report, "facts": facts, "load": parts(report)}
    return fill_template(
        "load.html", values, title=f"{report.run or report.target}: {report.verdict}"
    )


def parts(report: LoadReport) -> dict[str, Any]:
    """The values of the sections that a load has on any page."""
    one = {report.run or report.target: report}
    return {
        "report": report,
        "rates": rates(report),
        "latency": latency(report),
        "percentiles": percentiles(one),
        "lines": lines(one),
    }


def pair(a: LoadReport, b: LoadReport, compared: LoadComparison) -> str:
    """Two loads beside each other."""
    both = {a.run: a, b.run: b}
    values = {
        "reports": [{"report": r, "rates": rates(r), "latency": latency(r)} for r in (a, b)],
        "compared": compared,
        "percentiles": percentiles(both),
        "lines": lines(both),
    }
    return fill_template("load-pair.html", values, title=f"{a.run} and {b.run}")
