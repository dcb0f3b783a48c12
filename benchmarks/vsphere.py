"""The API server of vSphere in front of 2,000 VMs: requests, waiting clients, memory and idleness.

The server is a process of its own (``vsphere_server``) whose lab answers at once; the client is
this process, with messages made before.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Final

import psutil

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.staging import folder
from protocol.authorization import ADMINISTRATOR

VMS: Final = 2_000
CLIENTS: Final = 100
PASSWORD: Final = "benchmark"
PATHS: Final = (
    "name", "runtime.powerState", "runtime.cryptoState", "runtime.host", "config.keyId",
    "overallStatus",
)  # fmt: skip
_XSI: Final = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_COLLECTOR: Final = '<_this type="PropertyCollector">propertyCollector</_this>'


class VsphereServing(Benchmark):
    """CurrentTime by one connection under TLS; a detail each for the other figures.

    ``server_us`` is CPU time of the server for one answer: what else runs here disturbs it least.
    ``wait_p99_ms`` is the time from a change of power to the answer of a waiting client, and
    ``wait_cpu_ms`` CPU time of the server for one change that all of them wait for.
    """

    name: ClassVar[str] = "vsphere"
    measures: ClassVar[str] = "CurrentTime by one connection under TLS, in front of 2,000 VMs"
    unit: ClassVar[str] = "1/s"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 1_500.0)
    also: ClassVar[dict[str, Bar]] = {
        "retrieve_cpu_s": Bar(Sense.AT_MOST, 1.0),
        "wait_p99_ms": Bar(Sense.AT_MOST, 100.0),
        "idle_pss_mib": Bar(Sense.AT_MOST, 90.0),
        "idle_cpu_percent": Bar(Sense.AT_MOST, 1.0),
    }
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        if find_spec("pyVmomi") is None or find_spec("uvicorn") is None:
            raise CannotRun("the extra vsphere is not installed")
        seconds = 0.3 if self.quick else 3.0
        with folder() as where:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "benchmarks.vsphere_server", str(where), str(VMS),
                stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parents[1],
            )  # fmt: skip
            try:
                port = await process.stdout.readline() if process.stdout is not None else b""
                server = _Server(process, int(port), where)
                return await self._measure(server, seconds, report)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.wait()

    async def _measure(self, server: _Server, seconds: float, report: Report) -> Figures:
        client = await server.connect()
        await client.log_in()
        found: dict[str, float] = {}
        report("RetrievePropertiesEx of all VMs")
        begun = server.cpu_s()
        text = await client.call(_retrieve("RetrievePropertiesEx", PATHS) + _END_RETRIEVE)
        if text.count("<objects>") != VMS:
            raise CannotRun(f"not all VMs were answered: {text[:200]}")
        found["retrieve_cpu_s"] = server.cpu_s() - begun
        report("an idle server")
        await asyncio.sleep(min(seconds, 1.0))
        begun, at = server.cpu_s(), time.monotonic()
        await asyncio.sleep(2 * seconds)
        found["idle_cpu_percent"] = 100 * (server.cpu_s() - begun) / (time.monotonic() - at)
        found["idle_pss_mib"] = server.memory.memory_full_info().pss / (1 << 20)
        report("CurrentTime")
        rate, found["server_us"] = await _current_time(server, client, seconds)
        count = 5 if self.quick else CLIENTS
        report(f"{count} clients that wait")
        late, cpu_s = await _waiting(server, count, 3 if self.quick else 20)
        found["wait_p99_ms"] = statistics.quantiles(late, n=100)[98]
        found["wait_p50_ms"] = statistics.median(late)
        found["wait_cpu_ms"] = 1e3 * cpu_s
        return Figures(rate, found)


class _Server:
    def __init__(self, process: Process, port: int, where: Path) -> None:
        self.process, self.port = process, port
        self.memory = psutil.Process(process.pid)
        self._context = ssl.create_default_context(cafile=where / "ca.pem")

    def cpu_s(self) -> float:
        used = self.memory.cpu_times()
        return float(used.user + used.system)

    async def connect(self) -> _Client:
        streams = await asyncio.open_connection(
            "localhost", self.port, ssl=self._context, limit=1 << 24
        )
        return _Client(*streams)

    def toggle(self, vm: int) -> None:
        """Another power state of a VM."""
        if self.process.stdin is not None:
            self.process.stdin.write(f"{vm}\n".encode())


class _Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._cookie = b""

    async def log_in(self) -> None:
        this = '<_this type="SessionManager">SessionManager</_this>'
        user = f"<userName>{ADMINISTRATOR}</userName><password>{PASSWORD}</password>"
        await self.call(f'<Login xmlns="urn:vim25">{this}{user}</Login>')

    def request(self, body: str) -> bytes:
        """The bytes of a request."""
        data = _envelope(body)
        head = b"POST /sdk HTTP/1.1\r\nHost: x\r\nSOAPAction: urn:vim25/8.0.3.0\r\n" + self._cookie
        return head + b"Content-Length: %d\r\n\r\n" % len(data) + data

    async def call(self, body: str) -> str:
        """The answer to a call."""
        return (await self.exchange(self.request(body))).decode()

    async def exchange(self, request: bytes) -> bytes:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        cookie = re.search(rb"set-cookie: ([^;\r]+)", head)
        if length is None or b" 200 " not in head.split(b"\r\n")[0]:
            raise CannotRun(f"the server refused a request: {head!r}")
        if cookie is not None:
            self._cookie = b"Cookie: " + cookie[1] + b"\r\n"
        return await self._reader.readexactly(int(length[1]))


def _envelope(body: str) -> bytes:
    return f"<Envelope {_XSI}><Body>{body}</Body></Envelope>".encode()


def retrieve_envelope() -> bytes:
    """A request for six properties of all VMs."""
    return _envelope(_retrieve("RetrievePropertiesEx", PATHS) + _END_RETRIEVE)


def _retrieve(method: str, paths: tuple[str, ...]) -> str:
    wanted = "".join(f"<pathSet>{path}</pathSet>" for path in paths)
    walk = (
        '<selectSet xsi:type="TraversalSpec"><type>Folder</type><path>childEntity</path>'
        "<skip>false</skip></selectSet>"
    )
    part = "specSet" if method == "RetrievePropertiesEx" else "spec"
    return (
        f'<{method} xmlns="urn:vim25">{_COLLECTOR}<{part}><propSet><type>VirtualMachine</type>'
        f'{wanted}</propSet><objectSet><obj type="Folder">group-v3</obj><skip>true</skip>{walk}'
        f"</objectSet></{part}>"
    )


_END_RETRIEVE: Final = "<options/></RetrievePropertiesEx>"
_END_FILTER: Final = "<partialUpdates>true</partialUpdates></CreateFilter>"


async def _current_time(server: _Server, client: _Client, seconds: float) -> tuple[float, float]:
    """Answers in a second, and microseconds of the server's CPU for one."""
    instance = '<_this type="ServiceInstance">ServiceInstance</_this>'
    request = client.request(f'<CurrentTime xmlns="urn:vim25">{instance}</CurrentTime>')
    for _ in range(100):
        await client.exchange(request)
    count, cpu, begun = 0, server.cpu_s(), time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        await client.exchange(request)
        count += 1
    return count / passed, (server.cpu_s() - cpu) / count * 1e6


def _wait(version: str) -> str:
    options = "<options><maxWaitSeconds>60</maxWaitSeconds></options>"
    given = f"<version>{version}</version>" if version else ""
    return f'<WaitForUpdatesEx xmlns="urn:vim25">{_COLLECTOR}{given}{options}</WaitForUpdatesEx>'


def _version(text: str) -> str:
    found = re.search(r"<version>([^<]*)</version>", text)
    if found is None:
        raise CannotRun(f"an answer has no version: {text[:200]}")
    return found[1]


async def _waiting(server: _Server, clients: int, changes: int) -> tuple[list[float], float]:
    """Milliseconds from a change to what each client is told of it, and seconds of the server's CPU
    for a change."""
    waiting: list[tuple[_Client, str]] = []
    for _ in range(clients):
        client = await server.connect()
        await client.log_in()
        await client.call(_retrieve("CreateFilter", ("runtime.powerState",)) + _END_FILTER)
        waiting.append((client, _version(await client.call(_wait("")))))
    late: list[float] = []

    async def wait(client: _Client, version: str, since: list[float]) -> tuple[_Client, str]:
        text = await client.call(_wait(version))
        late.append((time.monotonic() - since[0]) * 1e3)
        return client, _version(text)

    cpu_s = 0.0
    for number in range(changes):
        since = [0.0]
        asked = [asyncio.ensure_future(wait(*one, since)) for one in waiting]
        await asyncio.sleep(0.5)
        since[0], begun = time.monotonic(), server.cpu_s()
        server.toggle(number)
        waiting = list(await asyncio.gather(*asked))
        cpu_s += server.cpu_s() - begun
    return late, cpu_s / changes
