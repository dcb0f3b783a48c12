"""``serve``, ``env`` and ``exec``: an API server in front of a lab of this user, and its clients.

What clients need lies in ``vsphere/`` of the lab's folder: the certificates, the password, and
where the server listens (``serving.json``).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lab.local.remote import Remote
from lab.schema.commands import Command
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder
from protocol.authorization import ADMINISTRATOR

if TYPE_CHECKING:
    from lab.client import Lab

FOLDER, RECORD, PASSWORD = "vsphere", "serving.json", "password"
ALLOCATIONS = 2_000
"""Objects after which the garbage collector looks at young ones."""
ROOT_USER = "root"
"""The local user of an ESXi host."""
EXTRA = "install the extra: `./keystead setup`, or pip install 'keystead[vsphere]'"

Beside = Callable[
    [Any, Callable[[], Awaitable[None]], Sequence[Any]], AbstractAsyncContextManager[object]
]
"""Serves the lab behind an executor, for the length of a block; calls the function after each
command that may have changed the lab. Has the newest calls of clients (``ServedCall``)."""


class ApiServing(msgspec.Struct, frozen=True):
    """Where an API server of a lab listens, and the process that does. ``hosts``: ports of the
    API servers of ESXi hosts, at the same address."""

    host: str
    port: int
    pid: int
    user: str
    vcenter: str = ""
    hosts: dict[str, int] = {}


class _OfRunningLab:
    """An executor that gives commands to a running lab, and finds it again after a restart."""

    virtual = False

    def __init__(self, folder: LabFolder) -> None:
        self.changes = self.sleeps = 0
        self._folder = folder
        self._stack = contextlib.AsyncExitStack()
        self._lab: Remote | None = None
        self._lock = asyncio.Lock()

    async def _connect(self) -> Remote:
        async with self._lock:
            if self._lab is None:
                self._lab = await self._stack.enter_async_context(Remote(self._folder))
            return self._lab

    async def do(self, command: Command[Any], vcenter: str = "", user: str = "") -> Any:
        """As ``Executor.do``. A lab that has gone is looked for again at the next command."""
        lab = await self._connect()
        try:
            return await lab.do(command, vcenter, user)
        except KeysteadError as error:
            if error.id.startswith("KS-LAB-") or error.id.startswith("KS-AGENT-"):
                await self.close()
            raise

    async def look(self, command: Command[Any]) -> Any:
        """As ``Executor.look``."""
        return await self.do(command)

    async def sleep(self, seconds: float) -> None:
        """As ``Executor.sleep``."""
        await (await self._connect()).sleep(seconds)

    async def close(self) -> None:
        """Let the connection go."""
        async with self._lock:
            self._lab = None
            await self._stack.aclose()


@dataclass
class OfLab:
    """An executor of a lab that this process holds or has reached. ``look``: as of ``Executor``,
    where it is not ``do``."""

    do: Callable[..., Coroutine[Any, Any, Any]]
    sleep: Callable[[float], Coroutine[Any, Any, None]]
    virtual: bool
    look: Callable[[Command[Any]], Coroutine[Any, Any, Any]]
    changes: int = 0
    sleeps: int = 0


def of_lab(lab: Lab) -> OfLab:
    """An executor of a lab that this process holds."""
    virtual = lab.mode == "sim"
    return OfLab(lab.do, lab.sleep, virtual, lab.simulated.look if virtual else lab.do)


def folder_of(name: str) -> Path:
    """Where the API server of a lab keeps what its clients need."""
    return LabFolder(name).path / FOLDER


def password_of(folder: Path) -> str:
    """The password of every user of the lab; made at the first start, and kept."""
    path = folder / PASSWORD
    with contextlib.suppress(FileNotFoundError):
        return path.read_text("utf-8").strip()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = secrets.token_urlsafe(18)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        out.write(made + "\n")
    return made


def serving(name: str) -> ApiServing:
    """The API server of a lab that runs; KS-API-001 when there is none."""
    try:
        found = msgspec.json.decode((folder_of(name) / RECORD).read_bytes(), type=ApiServing)
        os.kill(found.pid, 0)
    except (OSError, msgspec.DecodeError):
        raise KeysteadError("KS-API-001", f"no API server of the lab {name} runs here") from None
    return found


def environment(name: str, host: str = "") -> dict[str, str]:
    """What clients of a running API server read, of vCenter or of one host, and the name of the
    lab, which commands of keystead take.

    Raises ``KeysteadError``: KS-API-001 when none runs, KS-USE-002 for another host.
    """
    where = serving(name)
    if host:
        if host not in where.hosts:
            known = ", ".join(sorted(where.hosts)) or "no hosts are served"
            raise KeysteadError("KS-USE-002", f"no API server of a host {host}: {known}")
        where = msgspec.structs.replace(where, port=where.hosts[host], user=ROOT_USER)
    return {"KEYSTEAD_NAME": name, **variables_of(where, folder_of(name))}


def variables_of(where: ApiServing, folder: Path) -> dict[str, str]:
    """What clients read: govc, Ansible, libvirt and programs of pyVmomi."""
    authority, password = str(folder / "ca.pem"), password_of(folder)
    host, port = where.host, str(where.port)
    url = f"https://{host}:{port}"
    return {
        "GOVC_URL": f"{url}/sdk",
        "GOVC_USERNAME": where.user,
        "GOVC_PASSWORD": password,
        "GOVC_TLS_CA_CERTS": authority,
        "GOVC_PERSIST_SESSION": "false",
        "VMWARE_HOST": host,
        "VMWARE_PORT": port,
        "VMWARE_USER": where.user,
        "VMWARE_PASSWORD": password,
        "VMWARE_VALIDATE_CERTS": "true",
        "VI_SERVER": host,
        "VI_PORTNUMBER": port,
        "VI_USERNAME": where.user,
        "VI_PASSWORD": password,
        "VI_CACERTFILE": authority,
        "KEYSTEAD_API_URL": url,
        "KEYSTEAD_CA_FILE": authority,
        "SSL_CERT_FILE": authority,
        "REQUESTS_CA_BUNDLE": authority,
    }


@contextlib.asynccontextmanager
async def executor_of(name: str, file: str, seed: int | None) -> AsyncIterator[tuple[Any, Any]]:
    """The executor of the lab ``name``, and the ``Lab`` when it is one that is simulated here."""
    if not file:
        running = _OfRunningLab(LabFolder(name))
        try:
            yield running, None
        finally:
            await running.close()
        return
    from lab.client import Lab
    from lab.vsphere.executor import Serial

    if LabFolder(name).record() is not None:
        raise KeysteadError("KS-API-004", f"there is a lab {name} of real processes")
    async with Lab(mode="sim", topology=file, seed=seed) as lab:
        yield Serial(of_lab(lab)), lab


@contextlib.asynccontextmanager
async def accept_commands(
    name: str, serial: Any, look_again: Callable[[], Awaitable[Any]], lab: Lab
) -> AsyncIterator[None]:
    """Let commands of other processes reach a simulated lab by its name, for the length of a
    block; each is answered when ``look_again`` has seen what it changed."""
    from lab.local.simulation_socket import simulation_socket

    async def call(kind: str, payload: bytes) -> bytes:
        try:
            answer: bytes = await serial.in_turn(lambda: lab.simulated.call(kind, payload))
            return answer
        finally:
            await look_again()

    async with simulation_socket(LabFolder(name).path, call):
        yield


async def serve(
    name: str, host: str, port: int, vcenter: str, version: str, simulated: str,
    seed: int | None, hosts: bool, ready: Callable[[ApiServing], None],
    end: Callable[[str], None], beside: Beside | None = None,
) -> None:  # fmt: skip
    """Serve the APIs of a lab until SIGINT or SIGTERM. ``simulated``: a Lab file that is played in
    virtual time by this process alone; empty: the lab ``name``, which runs. ``hosts``: serve those
    of its ESXi hosts too, each at a port of its own. ``end`` gets the trace of a simulated lab.
    ``beside`` serves the same lab in another way.

    Raises ``KeysteadError``: KS-API-002 without the extra, KS-API-003 when the address cannot be
    had, KS-API-004 when a lab has the name of the simulated one, KS-LAB-001 when the lab does not
    run.
    """
    gc.set_threshold(ALLOCATIONS)  # a command line is over before garbage matters, a server is not
    folder = folder_of(name)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with (
        executor_of(name, simulated, seed) as (executor, lab),
        serve_apis(executor, name, folder, host, port, vcenter, version) as (server, where),
    ):

        def write_down(ports: dict[str, int]) -> ApiServing:
            found = msgspec.structs.replace(where, hosts={n: p for n, p in ports.items() if p})
            beside = folder / f"{RECORD}.{where.pid}"
            beside.write_bytes(msgspec.json.encode(found))
            beside.replace(folder / RECORD)
            return found

        async with contextlib.AsyncExitStack() as stack:
            if lab is not None:
                await stack.enter_async_context(
                    accept_commands(name, executor, server.look_again, lab)
                )
            stack.callback((folder / RECORD).unlink, missing_ok=True)
            if beside is not None:
                await stack.enter_async_context(beside(executor, server.look_again, server.calls))
            ports: dict[str, int] = {}
            if hosts:
                from lab.vsphere.http.host_server import HostListeners, hosts_listening

                first = where.port if port else 0
                listeners = HostListeners(
                    server, password_of(folder), folder, host, first, write_down
                )
                await stack.enter_async_context(hosts_listening(listeners))
                ports = listeners.ports
            ready(write_down(ports))
            await stopped.wait()
        if lab is not None:
            end(await lab.trace())


@contextlib.asynccontextmanager
async def serve_apis(
    executor: Any, name: str, folder: Path, host: str = "127.0.0.1", port: int = 0,
    vcenter: str = "", version: str = "",
) -> AsyncIterator[tuple[Any, ApiServing]]:  # fmt: skip
    """The APIs of the lab behind ``executor`` for the length of a block: the ``ApiServer``, and
    where it listens. ``folder`` gets what clients need. Raises as ``serve``."""
    try:
        from lab.vsphere.http.listening import listening
        from lab.vsphere.service import ApiServer
        from lab.vsphere.soap import newest
    except ImportError as error:
        raise KeysteadError("KS-API-002", f"{error}", EXTRA) from None
    try:
        newest(version or "8.0.3.0")
    except ValueError as error:
        raise KeysteadError("KS-USE-003", f"--api-version: {error}") from None
    server = ApiServer(executor, name, password_of(folder), vcenter, version)
    await server.refresh()
    async with contextlib.AsyncExitStack() as stack:
        try:
            listener = await stack.enter_async_context(listening(server, folder, host, port))
        except OSError as error:
            text = f"{host}:{port}: {error.strerror or error}"
            raise KeysteadError("KS-API-003", text) from None
        yield server, ApiServing(host, listener.port, os.getpid(), ADMINISTRATOR, vcenter)
