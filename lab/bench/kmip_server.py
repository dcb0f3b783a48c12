"""A key server that speaks KMIP over TLS, and PyKMIP's beside it when that is installed.

Both are processes of their own; the client is this one, with messages made before. What it asks
of the one it asks of the other, of the same machine and at the same time.
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
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

from lab.bench.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from lab.bench.staging import folder
from lab.kmip import certificates
from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.attributes import Attribute, TemplateAttribute
from protocol.kmip.enums import ObjectType, Operation, ResultStatus
from protocol.kmip.fields import Fields
from protocol.kmip.header import RequestHeader
from protocol.kmip.message import (
    RequestItem,
    RequestMessage,
    decode_response,
    encode_request,
)
from protocol.kmip.payloads import (
    CreateRequest,
    CreateResponse,
    DiscoverVersionsRequest,
    GetRequest,
)
from protocol.kmip.structures import ProtocolVersion

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
    """Get of one key by eight connections; a detail each for the other figures."""

    name: ClassVar[str] = "kms"
    measures: ClassVar[str] = "Get over KMIP and TLS by eight connections to a server's process"
    unit: ClassVar[str] = "1/s"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 10_000.0)
    also: ClassVar[dict[str, Bar]] = {
        "get_p99_ms": Bar(Sense.AT_MOST, 3.0),
        "create_per_s": Bar(Sense.AT_LEAST, 4000.0),
        "handshake_per_s": Bar(Sense.AT_LEAST, 300.0),
    }
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        seconds = 0.3 if self.quick else 5.0
        with folder() as where:
            async with _ours(where) as (port, context):
                ours = await _measured(port, context, seconds, report)
            theirs: dict[str, float] = {}
            if find_spec("kmip") is not None:
                files = where / "ours" / "tls"
                async with _pykmip(where, files) as port:
                    theirs = await _measured(port, _context(files), seconds, report)
        details = {name: value for name, value in ours.items() if name != "get_per_s"}
        for name in ("get_per_s", "create_per_s", "handshake_per_s"):
            if theirs.get(name):
                details[f"pykmip_{name}"] = theirs[name]
                details[f"{name.removesuffix('_per_s')}_ratio"] = ours[name] / theirs[name]
        return Figures(ours["get_per_s"], details)


async def _measured(
    port: int, context: ssl.SSLContext, seconds: float, report: Report
) -> dict[str, float]:
    """Every figure of the server at that port."""
    reader, writer = await _connected(port, context)
    made = decode_response(await _ask(reader, writer, _create())).batch_item[0]
    if not isinstance(made.response_payload, CreateResponse):
        raise CannotRun(f"no key was made: {made.result_message}")
    writer.close()
    key = made.response_payload.unique_identifier
    get = _bytes(Operation.GET, GetRequest(unique_identifier=key))
    figures: dict[str, float] = {}
    for name, request in (("get", get), ("create", _create()), ("versions", _versions())):
        report(f"{name} at port {port}")
        took = await _together(port, context, request, seconds)
        figures[f"{name}_per_s"] = len(took) / seconds
        took.sort()
        figures[f"{name}_p99_ms"] = took[int(len(took) * 0.99)] * 1000
    report(f"handshakes at port {port}")
    figures["handshake_per_s"] = await _handshakes(port, context, seconds)
    return figures


async def _together(
    port: int, context: ssl.SSLContext, request: bytes, seconds: float
) -> list[float]:
    """How long each answer took, of all clients that ask one after the other."""
    ends = [await _connected(port, context) for _ in range(CLIENTS)]
    until, took = time.perf_counter() + seconds, list[float]()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (begun := time.perf_counter()) < until:
            data = await _ask(reader, writer, request)
            took.append(time.perf_counter() - begun)
        if decode_response(data).batch_item[0].result_status is not ResultStatus.SUCCESS:
            raise CannotRun("the server has refused")

    await asyncio.gather(*(client(*end) for end in ends))
    for _, writer in ends:
        writer.close()
    return took


async def _handshakes(port: int, context: ssl.SSLContext, seconds: float) -> float:
    """Connections a second, each asked one thing and closed."""
    until, count = time.perf_counter() + seconds, 0

    async def client() -> None:
        nonlocal count
        while time.perf_counter() < until:
            reader, writer = await _connected(port, context)
            await _ask(reader, writer, _versions())
            writer.close()
            count += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return count / seconds


async def _connected(
    port: int, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    writer.write(request)
    head = await reader.readexactly(8)
    return head + await reader.readexactly(int.from_bytes(head[4:]))


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
    context = ssl.create_default_context(cafile=files / f"{certificates.AUTHORITY}.pem")
    context.check_hostname = False
    context.load_cert_chain(
        files / f"{certificates.CLIENT}.pem", files / f"{certificates.CLIENT}.key"
    )
    return context


@asynccontextmanager
async def _ours(where: Path) -> AsyncIterator[tuple[int, ssl.SSLContext]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_WORDS,
        "--folder",
        str(where / "ours"),
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
        yield port, _context(where / "ours" / "tls")
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _pykmip(where: Path, files: Path) -> AsyncIterator[int]:
    """PyKMIP's server with the same certificates."""
    theirs = where / "theirs"
    theirs.mkdir()
    port = await _free_port()
    words = [files / f"{certificates.SERVER}.pem", files / f"{certificates.SERVER}.key"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _THEIRS,
        str(theirs),
        str(port),
        *map(str, words),
        str(files / f"{certificates.AUTHORITY}.pem"),
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
        yield port
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
