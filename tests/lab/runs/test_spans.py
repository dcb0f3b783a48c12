"""The requests of a run as spans of OpenTelemetry."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chaos.conversation import ConversationEnd, Said
from lab.cli.main import run
from lab.local.stored import spans
from lab.local.stored.spans import RequestSpan, request_spans
from lab.schema.errors import KeysteadError


def said(t: float, src: str, dst: str, kind: str, name: str, id: int, cause: str = "") -> Said:
    return Said(t=t, src=src, dst=dst, kind=kind, name=name, id=id, cause=cause, boot=2)


def test_each_request_is_a_span_of_its_first_cause() -> None:
    found = request_spans(
        [
            said(1.0, "vcenter", "esxi", "request", "PowerOnVm", 7, "console/1/3"),
            said(1.1, "esxi", "vcenter", "request", "GetKeys", 4, "vcenter/2/7"),
            said(1.2, "vcenter", "kms", "request", "GetKeys", 8, "esxi/2/4"),
            said(1.3, "kms", "vcenter", "error", "NoSuchKey", 8),
            said(1.35, "kms", "esxi", "event", "KeysChanged", 9),
            said(1.4, "vcenter", "esxi", "reply", "KeyValues", 4),
            said(1.5, "kms", "vcenter", "reply", "Pong", 99),
            said(2.0, "esxi", "kms", "request", "Ping", 5),
            ConversationEnd(messages=8, dropped=0, gaps=0),
        ]
    )
    root = "console/1/3"
    assert list(found) == [
        RequestSpan("vcenter/2/8", "esxi/2/4", root, "GetKeys", "vcenter", "kms", 1.2, 1.3,
                    "NoSuchKey"),
        RequestSpan("esxi/2/4", "vcenter/2/7", root, "GetKeys", "esxi", "vcenter", 1.1, 1.4, "ok"),
        RequestSpan("vcenter/2/7", "", root, "PowerOnVm", "vcenter", "esxi", 1.0, 1.0),
        RequestSpan("esxi/2/5", "", "esxi/2/5", "Ping", "esxi", "kms", 2.0, 2.0),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.sim
def test_without_the_extra_it_is_said(
    played: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError("No module named 'opentelemetry'")
        return whole(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run(["chaos", "tap", played, "--otlp", "http://127.0.0.1:1"]) == 64
    err = capsys.readouterr().err
    assert "KS-USE-003: --otlp is not available" in err and "keystead[otel]" in err


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    assert run(["chaos", "run", "edge-outage-reboot", "--mode", "sim", "-q"]) == 0
    return "edge-outage-reboot-sim-7"


@pytest.mark.slow
@pytest.mark.sim
def test_a_collector_gets_the_spans_of_a_run(
    played: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    capsys.readouterr()
    assert run(["chaos", "tap", played, "-o", "json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    requests = [one for one in told if one["kind"] == "request"]
    with collector() as (url, bodies):
        assert run(["chaos", "tap", played, "--otlp", url]) == 0
        assert run(["chaos", "tap", played, "--otlp", "no-address"]) == 64
    sent = []
    for body in bodies:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            sent += [span for scope in resource.scope_spans for span in scope.spans]
    assert len(sent) == len(requests) > 100
    assert f"{len(sent)} requests are sent" in capsys.readouterr().err
    assert len({span.span_id for span in sent}) == len(sent)
    ids = {(span.trace_id, span.span_id) for span in sent}
    children = [span for span in sent if span.parent_span_id]
    assert all((one.trace_id, one.parent_span_id) in ids for one in children)
    causes = {one["cause"] or n for n, one in enumerate(requests)}
    assert len({span.trace_id for span in sent}) == len(causes) < len(sent)
    assert all(one.end_time_unix_nano >= one.start_time_unix_nano for one in sent)


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize(("status", "taken"), [(404, 0), (302, 0), (307, 0), (404, 100)])
def test_a_collector_that_does_not_take_them_is_an_error(
    played: str, status: int, taken: int, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A redirect was taken for success: "182 requests are sent", and no collector had one."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    monkeypatch.setattr(spans, "AT_ONCE", 100)
    answers = [200] if taken else []
    with collector(*answers, status, location="file:///etc/passwd") as (url, bodies):
        assert run(["chaos", "tap", played, "--otlp", url]) == 74
    err = capsys.readouterr().err
    assert f"took {taken} spans, and then no more" in err and "are sent" not in err
    assert len(bodies) == len(answers) + 1


def test_no_password_is_repeated() -> None:
    with pytest.raises(KeysteadError, match="no user and no password") as caught:
        spans.send_spans("any-sim-1", (), "http://user:s3cret@127.0.0.1:4318")
    assert caught.value.id == "KS-USE-003" and "s3cret" not in str(caught.value)


@contextmanager
def collector(*answers: int, location: str = "") -> Iterator[tuple[str, list[bytes]]]:
    """A collector. ``answers`` are the statuses of its first answers, 200 after these."""
    bodies: list[bytes] = []
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            data = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                import gzip

                data = gzip.decompress(data)
            bodies.append(data)
            self.send_response(left.pop(0) if left else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
