"""A replay as one HTML file: nothing in it asks a network."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from chaos.report.filling import fill_template
from lab.kmip.replay.findings import ReplayVerdict
from lab.schema.answers.kmip import ReplayReport, ReplayServer

_WORDS: Final = {
    ReplayVerdict.WORKS: "pass",
    ReplayVerdict.NOTICES: "unknown",
    ReplayVerdict.FAILS: "fail",
}
"""Verdicts of a run whose colours and signs fit."""


def page(report: ReplayReport) -> str:
    """The report of one replay."""
    facts: dict[str, Any] = {
        "date": report.date,
        "keystead": report.keystead,
        "vCenter": report.vcenter,
        "connection": report.connection,
        "took": f"{report.seconds:.1f} s",
        "keys made": report.keys,
        "keys left": len(report.left),
    }
    where = ", ".join(server.address for server in report.servers)
    values = {
        "report": report,
        "facts": facts,
        "where": where,
        "word": _WORDS[ReplayVerdict(report.verdict)],
        "servers": [_server(server) for server in report.servers],
    }
    return fill_template("replay.html", values, title=f"{where}: {report.verdict}")


def _server(server: ReplayServer) -> dict[str, Any]:
    """What a server has shown, by words."""
    told: dict[str, Any] = {
        "address": server.address,
        "vendor": server.vendor or "not named",
        "KMIP": ", ".join(server.versions) or "no version named",
        "TLS": f"{server.tls} {server.cipher}".strip() or "no handshake",
    }
    if server.down:
        told["not played against"] = server.down
    found = server.certificate
    if found is not None:
        told |= {
            "certificate": found.subject,
            "issued by": found.issuer,
            "for": ", ".join(found.names) or "no name",
            "good until": _day(found.end),
            "key": found.key,
            "SHA-256": found.sha256,
        }
    return told


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
