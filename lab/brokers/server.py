"""A broker of the lab: one nats-server process, from its configuration to its end.

The supervisor owns two of them, or more: a data broker may be a cluster (``bus_servers``). The data
broker is a target of faults (killed, paused, restarted); the control broker never is. None outlives
the process that started it, however that ends: see ``die_with_parent``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from lab.brokers.configuration import (
    BrokerKind,
    BrokerPlace,
    BrokerUser,
    Routes,
    control_user,
    node_user,
    render,
    system_user,
    tap_user,
)
from lab.brokers.files import BrokerEndpoint, broker_folder, endpoint_file
from lab.brokers.identities import SUPERVISOR, TAP, Identities
from lab.brokers.monitoring import Connection, SystemAccount, server_name
from lab.brokers.program import find_server
from lab.schema.errors import KeysteadError
from protocol.terms import NodeName
from services.runtime.real.files import replace_file

_START_LIMIT_S = 15.0  # far above the usual 0.05 s: a loaded machine is not an error
_STOP_LIMIT_S = 5.0
_RELOAD_LIMIT_S = 15.0
_RELOAD_GAP_S = 0.2  # hosts added in a burst share one reload
_POLL_S = 0.003
_STAMP = re.compile(r"^\[\d+\] [\d/]+ [\d:.]+ ")  # of a line of its log
_LAUNCHER = Path(__file__).parent.parent / "processes" / "die_with_parent.py"


class Broker:
    """``Broker(folder, identities, BrokerKind.DATA)``; files go to ``<folder>/broker-data``, or to
    ``broker-data-2`` for the server of that ``number`` of a cluster.

    ``routes`` tells how it finds the others of a cluster; its own port there is filled in.
    Nodes in ``kept_off`` are no users of it, from its next start or ``reload`` on.
    """

    def __init__(
        self,
        folder: Path,
        identities: Identities,
        kind: BrokerKind = BrokerKind.DATA,
        *,
        number: int = 1,
        routes: Callable[[], Routes] | None = None,
        kept_off: Collection[NodeName] = (),
    ) -> None:
        self.kind, self._routes = BrokerKind(kind), routes
        self.name = f"{self.kind} broker" if routes is None else f"server {number} of the bus"
        self.folder = broker_folder(folder, self.kind, number)
        self._identities, self.kept_off = identities, kept_off
        self._process: subprocess.Popen[bytes] | None = None
        self._account: SystemAccount | None = None
        self._paused = False
        self._endpoint: BrokerEndpoint | None = None
        self._reload: asyncio.Task[None] | None = None
        self._reload_lock = asyncio.Lock()
        self._reloaded_at = 0.0

    @property
    def url(self) -> str:
        """``nats://127.0.0.1:<port>``; fixed after the first start. ``RuntimeError`` before."""
        place = self._build_place()
        if place.port <= 0:
            raise RuntimeError(f"the {self.kind} broker has not been started yet")
        return f"nats://127.0.0.1:{place.port}"

    @property
    def route_port(self) -> int:
        """Where other servers of its cluster find it; -1 before the first start."""
        return self._load_endpoint().route

    @property
    def routes_secret(self) -> str:
        """What another server of its cluster has to know; empty for one that is alone."""
        return "" if self._routes is None else self._routes().secret

    @property
    def server_name(self) -> str:
        """What it calls itself to clients and to other servers."""
        return self._load_endpoint().server_name

    async def fetch_routes(self) -> frozenset[str]:
        """The names of the servers that it has routes to, by its own word; none when it is down."""
        return (
            await self._system().routes(self._load_endpoint().port) if self._hears else frozenset()
        )

    async def clients(self) -> frozenset[str]:
        """The names of its clients, by its own word; none when it is down."""
        return (
            await self._system().clients(self._load_endpoint().port) if self._hears else frozenset()
        )

    async def traffic(self) -> tuple[str, tuple[Connection, ...]]:
        """What each connection of a node has sent; see ``SystemAccount.traffic``."""
        return await self._system().traffic(self._load_endpoint().port) if self._hears else ("", ())

    @property
    def _hears(self) -> bool:
        return self.alive() and not self.paused and self._load_endpoint().port > 0

    def _system(self) -> SystemAccount:
        if self._account is None:
            self._account = SystemAccount(self._identities.control(SUPERVISOR).seed)
        return self._account

    @property
    def log(self) -> Path:
        """The server's log; at most 2 x 1 MiB are kept."""
        return self._build_place().log

    @property
    def pid(self) -> int | None:
        """Of the running server, for the fault that signals it and for tests."""
        return self._process.pid if self.alive() and self._process else None

    @property
    def paused(self) -> bool:
        return self._paused and self.alive()

    def alive(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start it and return when it answers; no change when it runs.

        Raises ``KeysteadError`` KS-BROKER-001 (no server), KS-BROKER-002 (did not start). The
        calling thread must live as long as the process: the server dies with it.
        """
        if self.alive():
            return
        binary = find_server()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._process is None:
            self._settle()
        place = self._build_place()
        self._write_config(place)
        for stale in self.folder.glob("*.ports"):
            stale.unlink(missing_ok=True)
        self._process = self._spawn(binary.path, place.config)
        self._paused = False
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                await self._answers(place)
        except TimeoutError:
            await self.kill()
            raise self._not_started("it did not answer in time") from None
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Orderly end (SIGTERM), killed after five seconds; no change when it is down."""
        process = self._process
        if process is None or not self.alive():
            return
        self._signal(signal.SIGTERM)
        self.resume()  # a paused one would not hear it
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_LIMIT_S):
                while process.poll() is None:
                    await asyncio.sleep(_POLL_S)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL, and return when it is gone."""
        if self._account is not None:
            self._account.close()
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGKILL)
        while process.poll() is None:
            await asyncio.sleep(_POLL_S)
        self._paused = False

    def abort(self) -> None:
        """SIGKILL, and wait for the kernel to have it done. Blocks for a moment; see ``kill``."""
        if self._account is not None:
            self._account.close()
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._paused = False

    def pause(self) -> None:
        """SIGSTOP: its sockets stay open and nothing answers."""
        if self.alive():
            self._signal(signal.SIGSTOP)
            self._paused = True

    def resume(self) -> None:
        """SIGCONT."""
        if self._paused:
            self._signal(signal.SIGCONT)
            self._paused = False

    async def reload(self) -> None:
        """Let it know everybody in ``identities``; others stay connected.

        Returns when the list is in force. Calls within 0.2 s share a reload. A broker that is
        down, or paused, has the new list when it is up again. ``KeysteadError`` KS-BROKER-003
        when the server refuses it.
        """
        if self._reload is None:
            self._reload = asyncio.get_running_loop().create_task(self._reload_soon())
        await asyncio.shield(self._reload)

    async def _reload_soon(self) -> None:
        gap = self._reloaded_at + _RELOAD_GAP_S - time.monotonic()
        await asyncio.sleep(max(gap, 0.01))
        self._reload = None  # who calls from here on may have added somebody we do not write
        async with self._reload_lock:
            self._reloaded_at = time.monotonic()
            place = self._build_place()
            self._write_config(place)
            if not self.alive():
                return
            end = place.log.stat().st_size if place.log.exists() else 0
            self._signal(signal.SIGHUP)
            await self._reload_done(place.log, end)

    async def _reload_done(self, log: Path, end: int) -> None:
        """Wait for the server's word on it, after byte ``end`` of its log."""
        limit = time.monotonic() + _RELOAD_LIMIT_S
        while self.alive() and not self._paused:
            with suppress(FileNotFoundError):
                if log.stat().st_size < end:
                    end = 0  # the log was rotated
                with log.open("rb") as file:
                    file.seek(end)
                    news = file.read()
                if b"Reloaded server configuration" in news:
                    return
                if b"Failed to reload" in news:
                    raise KeysteadError(
                        "KS-BROKER-003", f"the {self.name} refused its users; see {log}"
                    )
            if time.monotonic() > limit:
                raise KeysteadError(
                    "KS-BROKER-003", f"the {self.name} did not reload in time; see {log}"
                )
            await asyncio.sleep(_POLL_S)

    # Start-up --------------------------------------------------------------------------------

    def _spawn(self, server: Path, config: Path) -> subprocess.Popen[bytes]:
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with (self.folder / "start.log").open("wb") as output:
            return subprocess.Popen(
                [*launcher, str(server), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C at the terminal is for the supervisor
            )

    def _settle(self) -> None:
        """Nobody has our addresses before the first start: a port that somebody has taken since the
        lab was up the last time is chosen anew."""
        kept = self._load_endpoint()
        if not (_free(kept.port) and _free(kept.route)):
            self._endpoint = BrokerEndpoint(-1, kept.server_name)

    def _load_endpoint(self) -> BrokerEndpoint:
        """Where it listens, from memory, from disk, or made now (with a port to be chosen)."""
        if self._endpoint is None:
            try:
                kept = msgspec.json.decode(self._endpoint_file.read_bytes(), type=BrokerEndpoint)
            except (OSError, msgspec.DecodeError):
                kept = BrokerEndpoint(-1, f"keystead-{self.kind}-{os.urandom(6).hex()}")
            self._endpoint = kept
        return self._endpoint

    def _build_place(self) -> BrokerPlace:
        """Where it listens; with what others of its cluster have told so far."""
        kept = self._load_endpoint()
        routes = None if self._routes is None else replace(self._routes(), port=kept.route)
        return BrokerPlace(self.folder, kept.server_name, kept.port, routes)

    @property
    def _endpoint_file(self) -> Path:
        return endpoint_file(self.folder)

    def _users(self) -> tuple[BrokerUser, ...]:
        match self.kind:
            case BrokerKind.DATA:
                tap = tap_user(self._identities.control(TAP).public)
                nodes = self._identities.node_nkeys()
                allowed = (entry for entry in nodes if entry[0] not in self.kept_off)
                return (tap, *(node_user(*entry) for entry in allowed))
            case BrokerKind.CONTROL:
                known = self._identities.control_nkeys()
                return tuple(control_user(name, key) for name, key in known if name != TAP)

    def _askers(self) -> tuple[BrokerUser, ...]:
        """The supervisor asks the data broker; of the control broker it is an ordinary user."""
        known = self._identities.control(SUPERVISOR).public
        return (system_user(known),) if self.kind is BrokerKind.DATA else ()

    def _write_config(self, place: BrokerPlace) -> None:
        config = render(self.kind, place, self._users(), self._askers()).encode()
        replace_file(place.config, config, durable=False)  # a server may read it at any moment

    async def _answers(self, place: BrokerPlace) -> None:
        """Learn the port if it was the server's to choose; then see that it is really ours."""
        port, route = place.port, self.route_port
        while port <= 0 or (place.routes is not None and route <= 0):
            port, route = self._port_of("nats"), self._port_of("cluster")
            await self._still_there()
        while (name := await server_name(port)) is None:
            await self._still_there()
        if name != place.server_name:
            raise self._not_started(f"port {port} belongs to another server, {name!r}")
        found = BrokerEndpoint(port, place.server_name, route)
        if found != self._endpoint:
            self._endpoint = found
            replace_file(self._endpoint_file, msgspec.json.encode(found), durable=False)

    def _port_of(self, what: str) -> int:
        """Of the running server, as it has written it: ``nats``, ``cluster``."""
        pid = 0 if self._process is None else self._process.pid
        try:
            urls = json.loads((self.folder / f"nats-server_{pid}.ports").read_bytes())[what]
            return int(urls[0].rsplit(":", 1)[1])
        except (OSError, ValueError, KeyError, IndexError):
            return -1  # not there yet, or half written

    async def _still_there(self) -> None:
        if not self.alive():
            raise self._not_started("it ended at once")
        await asyncio.sleep(_POLL_S)

    def _not_started(self, why: str) -> KeysteadError:
        said = ""
        for file in (self.log, self.folder / "start.log"):
            with suppress(OSError):
                lines = [line for line in file.read_text(errors="replace").splitlines() if line]
                said = said or (_STAMP.sub("", lines[-1]) if lines else "")
        return KeysteadError(
            "KS-BROKER-002", f"the {self.name} did not start: {why} ({self.log}: {said})"
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)


def _free(port: int) -> bool:
    """Whether nobody listens on that port of the loopback interface; true of one to be chosen."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", max(port, 0)))
        except OSError:
            return False
    return True
