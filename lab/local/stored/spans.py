"""The requests of a stored run as spans of OpenTelemetry, one for each, sent to a collector.

The bus knows which message led to which (``cause``): requests with the same first cause are one
trace, and the request that a message was sent for is its parent. Ids come from the run's name and
the bus's numbers, so that the same run gives the same traces. No content of a message is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from chaos.conversation import ConversationEnd, Said
from lab.local.http_address import read_http_address
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError

EXTRA: Final = "install the extra: pip install 'keystead[otel]'"
AT_ONCE: Final = 500
"""Spans in one request to the collector."""
_NS: Final = 1_000_000_000


@dataclass(frozen=True)
class RequestSpan:
    """A request of the bus. ``key`` names it in the whole run, ``parent`` is the key of the request
    that it was sent for and ``root`` the first one of these; ``begin`` and ``end`` are lab seconds
    of the run. ``outcome`` is ``ok``, the name of an error, or ``no answer``."""

    key: str
    parent: str
    root: str
    name: str
    src: str
    dst: str
    begin: float
    end: float
    outcome: str = "no answer"


def request_spans(said: Iterable[Said | ConversationEnd]) -> Iterator[RequestSpan]:
    """The spans of a conversation: each when its answer comes, then those without one."""
    roots: dict[str, str] = {}
    open_: dict[tuple[str, str, int], RequestSpan] = {}
    for one in said:
        if isinstance(one, ConversationEnd):
            continue
        if one.kind == "request":
            key = f"{one.src}/{one.boot}/{one.id}"
            root = roots[key] = roots.get(one.cause, one.cause or key)
            parent = one.cause if one.cause in roots else ""
            span = RequestSpan(key, parent, root, one.name, one.src, one.dst, one.t, one.t)
            open_[one.src, one.dst, one.id] = span
        elif one.kind in ("reply", "error"):
            asked = open_.pop((one.dst, one.src, one.id), None)
            if asked is not None:
                outcome = "ok" if one.kind == "reply" else one.name
                yield replace(asked, end=one.t, outcome=outcome)
    yield from open_.values()


def send_spans(run: str, said: Iterable[Said | ConversationEnd], url: str) -> int:
    """Send the requests of a run to the collector at ``url`` (OTLP over HTTP); how many there were.

    Times are those of the run, counted from when it began, in lab seconds. KS-USE-003 without the
    extra, and for an address that is none; KS-OUT-001 when the collector does not take them.
    """
    address = read_http_address("--otlp", url)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExportResult
    except ImportError as error:
        raise KeysteadError("KS-USE-003", f"--otlp is not available: {error}", EXTRA) from None
    began = RunFolder(run).record().began
    endpoint = f"{url.rstrip('/')}/v1/traces"
    exporter = OTLPSpanExporter(endpoint, timeout=10, session=_session())
    count = 0
    try:
        spans = request_spans(said)
        while made := [_span_of(run, span, began) for span in islice(spans, AT_ONCE)]:
            if exporter.export(made) is not SpanExportResult.SUCCESS:
                text = f"--otlp {address.name}: the collector took {count} spans, and then no more"
                fix = (
                    "see the line above and the collector's log; spans keep their ids when repeated"
                )
                raise KeysteadError("KS-OUT-001", text, fix)
            count += len(made)
    finally:
        exporter.shutdown()
    return count


def _session() -> Any:
    """A session that fails at a redirect: the exporter takes each status below 400 for success."""
    import requests

    def refuse_redirect(response: requests.Response, **_: object) -> None:
        if 300 <= response.status_code < 400:
            response.close()
            raise requests.TooManyRedirects(f"status {response.status_code}: a redirect")

    session = requests.Session()
    session.hooks["response"].append(refuse_redirect)
    return session


def _span_of(run: str, span: RequestSpan, began: float) -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    trace_id = _number(f"{run} {span.root}", 16)

    def context(key: str) -> SpanContext:
        sampled = TraceFlags(TraceFlags.SAMPLED)
        return SpanContext(trace_id, _number(f"{run} {key}", 8), False, sampled)

    ok = span.outcome == "ok"
    return ReadableSpan(
        span.name,
        context(span.key),
        context(span.parent) if span.parent else None,
        Resource({"service.name": span.src, "service.namespace": "keystead"}),
        {
            "keystead.run": run,
            "keystead.to": span.dst,
            "keystead.request": span.key,
            "keystead.outcome": span.outcome,
        },
        kind=SpanKind.CLIENT,
        status=Status(StatusCode.OK if ok else StatusCode.ERROR, None if ok else span.outcome),
        start_time=round((began + span.begin) * _NS),
        end_time=round((began + span.end) * _NS),
    )


def _number(text: str, size: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big")
