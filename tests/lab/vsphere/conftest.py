"""A simulated lab behind its API server, in a thread; tests are clients of it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

from lab.client import Lab
from lab.local.vsphere import of_lab

pytest.importorskip("pyVmomi")
pytest.importorskip("uvicorn")

from pyVmomi import SoapStubAdapter, vim

from lab.vsphere.executor import Serial
from lab.vsphere.http.listening import listening
from lab.vsphere.service import ApiServer
from protocol.authorization import ADMINISTRATOR

PASSWORD = "correct horse"
T = TypeVar("T")


class Served:
    """A lab that is served. ``run`` does something in the loop of lab and server."""

    def __init__(
        self, folder: Path, mode: Literal["sim", "lab"] = "sim", topology: str = "default",
        vcenter: str = "",
    ) -> None:  # fmt: skip
        self.folder, self.mode, self.port = folder, mode, 0
        self.topology, self.vcenter = topology, vcenter
        self.lab: Lab
        self.server: ApiServer
        self.listener: Any = None
        self._loop = asyncio.new_event_loop()
        self._ready, self._end = threading.Event(), asyncio.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        sizes: dict[str, Any] = {} if self.mode == "sim" else {"hosts": 1, "vms": 1, "tpm": "none"}
        async with Lab(mode=self.mode, topology=self.topology, seed=7, **sizes) as self.lab:
            executor: Any = of_lab(self.lab)
            lab: Any = Serial(executor) if executor.virtual else executor
            self.server = ApiServer(lab, "default", PASSWORD, self.vcenter)
            async with listening(self.server, self.folder) as self.listener:
                self.port = self.listener.port
                self._ready.set()
                await self._end.wait()

    def start(self) -> None:
        """Until it is served."""
        self._thread.start()
        self._ready.wait(90)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Until all of it has gone."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)
        if self._error is not None:
            raise self._error

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine in the loop of the server."""
        return asyncio.run_coroutine_threadsafe(work(), self._loop).result(60)

    def do(self, command: Any, user: str = "") -> Any:
        """Give a command to the lab from the side, as another terminal would."""
        return self.run(lambda: self.server.watch.do(command, user))

    @contextlib.contextmanager
    def session(
        self, user: str = ADMINISTRATOR, password: str = PASSWORD, port: int = 0,
        release: str = "vim25/8.0.3.0",
    ) -> Iterator[Any]:  # fmt: skip
        """pyVmomi's ``ServiceInstance`` of a new session, with TLS verified by the lab's CA."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        stub = SoapStubAdapter("localhost", port or self.port, ns=release, sslContext=context)
        found = vim.ServiceInstance("ServiceInstance", stub)
        try:
            found.content.sessionManager.Login(user, password)
            yield found
            with contextlib.suppress(vim.fault.NotAuthenticated):
                found.content.sessionManager.Logout()
        finally:
            stub.DropConnections()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One lab for all tests; what a test changes, it changes back."""
    made = Served(tmp_path_factory.mktemp("vsphere"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def si(served: Served) -> Iterator[Any]:
    """A session of pyVmomi for one test."""
    with served.session() as found:
        yield found
