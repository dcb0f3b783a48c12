"""A key server that speaks KMIP over TLS, and PyKMIP's beside it when that is installed.

All are processes of their own; the client is this one, with messages made before. What it asks
of the one it asks of the other, of the same machine, one after the other. Ours is measured with
either audit; changes are durable before their answer with both.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.kmip_client import Server, ask, measure_requests
from benchmarks.staging import folder
from lab.kmip import credentials
from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.enums import ObjectType, Operation
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    RequestHeader,
    RequestItem,
    RequestMessage,
    decode_response,
    encode_request,
)
from protocol.kmip.objects import Attribute, ProtocolVersion, TemplateAttribute
from protocol.kmip.payloads import (
    CreateRequest,
    CreateResponse,
    DiscoverVersionsRequest,
    GetRequest,
)
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, Type

CLIENTS: Final = 8
_WORDS: Final = ("-m", "lab.cli.main", "kmip", "serve", "--listen", "127.0.0.1:0", "-o", "json")
_THEIRS: Final = """
import sys, warnings
warnings.simplefilter("ignore")
import logging
logging.disable(logging.CRITICAL)
from kmip.services.server import KmipServer
folder, port, cert, key, ca = sys.argv[1:]
server = KmipServer(
    hostname="127.0.0.1", port=int(port), certificate_path=cert, key_path=key, ca_path=ca,
    auth_suite="TLS1.2", config_path=None, log_path=folder + "/log", policy_path=folder,
    enable_tls_client_auth=False, database_path=folder + "/db",
)
with server:
    server.serve()
"""


class KmipServing(Benchmark):
    """Get of one key by eight connections; a detail each for the other figures.

    ``server_us`` is CPU time of our server for one answer: what else runs here disturbs it least.
    """

    name: ClassVar[str] = "kms"
    measures: ClassVar[str] = "Get over KMIP and TLS by eight connections, audit buffered"
    unit: ClassVar[str] = "1/s"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 10_000.0)
    also: ClassVar[dict[str, Bar]] = {
        "get_p99_ms": Bar(Sense.AT_MOST, 3.0),
        "create_per_s": Bar(Sense.AT_LEAST, 4000.0),
        "handshake_per_s": Bar(Sense.AT_LEAST, 300.0),
        "get_ratio": Bar(Sense.AT_LEAST, 25.0),
        "create_ratio": Bar(Sense.AT_LEAST, 20.0),
    }
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        seconds = 0.3 if self.quick else 5.0
        with folder() as where:
            async with serving(where, "durable") as process:
                durable = await _measure_server(
                    process, seconds, report, "get", "create", "versions"
                )
                durable["handshake_per_s"] = await _handshakes(process.server, seconds)
            async with serving(where, "buffered") as process:
                ours = await _measure_server(process, seconds, report, "get", "create")
            theirs: dict[str, float] = {}
            if find_spec("kmip") is not None:
                async with _pykmip(where, where / "durable" / "tls") as process:
                    theirs = await _measure_server(process, seconds, report, "get", "create")
                    theirs["handshake_per_s"] = await _handshakes(process.server, seconds)
        get = ours.pop("get_per_s")
        details = ours
        for name, value in durable.items():
            details[f"durable_{name}" if name.startswith(("get_", "create_")) else name] = value
        for name, value in theirs.items():
            if name.endswith("_per_s"):
                details[f"pykmip_{name}"] = value
                our = get if name == "get_per_s" else details[name]
                details[f"{name.removesuffix('_per_s')}_ratio"] = our / value
        return Figures(get, details)


@dataclass(frozen=True)
class Process:
    """A server that runs; ``pid`` of a process that does all of its work itself, else None."""

    server: Server
    pid: int | None


async def _measure_server(
    process: Process, seconds: float, report: Report, *names: str
) -> dict[str, float]:
    """These figures of a server."""
    server = process.server
    with server.connect() as end:
        made = decode_response(ask(end, _create())).batch_item[0]
    if not isinstance(made.response_payload, CreateResponse):
        raise CannotRun(f"no key was made: {made.result_message}")
    key = made.response_payload.unique_identifier
    get = _bytes(Operation.GET, GetRequest(unique_identifier=key))
    stamp, named = (Tag.TIME_STAMP, Type.DATE_TIME), (Tag.UNIQUE_IDENTIFIER, Type.TEXT_STRING)
    requests = {
        "get": (get, [stamp]),
        "create": (_create(), [stamp, named]),
        "versions": (_versions(), [stamp]),
    }
    figures: dict[str, float] = {}
    for name in names:
        report(f"{name} at port {server.port}")
        request, others = requests[name]
        begun = _cpu_s(process.pid)
        took = await asyncio.to_thread(measure_requests, server, request, others, CLIENTS, seconds)
        if begun is not None and (ended := _cpu_s(process.pid)) is not None:
            figures[f"{name}_server_us"] = (ended - begun) / len(took.each) * 1e6
        figures[f"{name}_per_s"] = took.rate
        figures[f"{name}_p99_ms"] = took.within(0.99)
    return figures


def _cpu_s(pid: int | None) -> float | None:
    """CPU time of a process so far, in seconds."""
    if pid is None:
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _handshakes(server: Server, seconds: float) -> float:
    """Connections a second, each asked one thing and closed."""
    until, count = time.perf_counter() + seconds, 0

    async def client() -> None:
        nonlocal count
        while time.perf_counter() < until:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=server.context
            )
            writer.write(_versions())
            head = await reader.readexactly(HEAD)
            await reader.readexactly(int.from_bytes(head[4:]))
            writer.close()
            count += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return count / seconds


def _bytes(operation: Operation, payload: Fields) -> bytes:
    version = ProtocolVersion(protocol_version_major=1, protocol_version_minor=1)
    header = RequestHeader(protocol_version=version, batch_count=1)
    item = RequestItem(operation=operation, request_payload=payload)
    return encode_request(RequestMessage(request_header=header, batch_item=(item,)))


def _create() -> bytes:
    facts = {
        "Cryptographic Algorithm": CryptographicAlgorithm.AES,
        "Cryptographic Usage Mask": 12,
        "Cryptographic Length": 256,
    }
    given = [Attribute(attribute_name=name, attribute_value=facts[name]) for name in facts]
    payload = CreateRequest(
        object_type=ObjectType.SYMMETRIC_KEY,
        template_attribute=TemplateAttribute(attribute=tuple(given)),
    )
    return _bytes(Operation.CREATE, payload)


def _versions() -> bytes:
    return _bytes(Operation.DISCOVER_VERSIONS, DiscoverVersionsRequest())


def _context(files: Path) -> ssl.SSLContext:
    """The first client's; a server is known by its authority, whatever its name."""
    context = ssl.create_default_context(cafile=files / f"{credentials.AUTHORITY}.pem")
    context.check_hostname = False
    context.load_cert_chain(
        files / f"{credentials.CLIENT}.pem", files / f"{credentials.CLIENT}.key"
    )
    return context


@asynccontextmanager
async def serving(where: Path, audit: str) -> AsyncIterator[Process]:
    """Ours, with its keys in the folder ``audit`` of ``where``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_WORDS,
        "--audit",
        audit,
        "--folder",
        str(where / audit),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said = b""
        while process.stdout is not None and not said.endswith(b"\n}\n"):
            line = await process.stdout.readline()
            if not line:
                raise CannotRun("kmip serve has ended")
            said += line
        told: dict[str, Any] = json.loads(said)
        port = int(told["address"].rpartition(":")[2])
        yield Process(Server(port, _context(where / audit / "tls")), process.pid)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _pykmip(where: Path, files: Path) -> AsyncIterator[Process]:
    """PyKMIP's server with the same certificates."""
    theirs = where / "theirs"
    theirs.mkdir()
    port = await _free_port()
    words = [files / f"{credentials.SERVER}.pem", files / f"{credentials.SERVER}.key"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _THEIRS,
        str(theirs),
        str(port),
        *map(str, words),
        str(files / f"{credentials.AUTHORITY}.pem"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                break
        yield Process(Server(port, _context(files)), None)
    finally:
        with suppress(ProcessLookupError):  # it has a process of its own, which outlives it
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
