"""A lab for Python code: ``Lab``, and ``AsyncLab`` for asyncio."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from keystead._commands import AsyncCommands, Commands
from keystead.answers import LoggedEvent
from keystead.awaiting import awaited
from keystead.connection import Connection, KeysteadError, plain

Mode = Literal["sim", "lab", "running"]
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UP = ("host.connected=all", "vm.locked=none", "vm.running=all", "fault.active=none")


class Events:
    """vCenter's events, oldest first; ``"com.vmware..." in events`` asks for a type."""

    def __init__(self, items: list[LoggedEvent]) -> None:
        self.items = items

    def __contains__(self, wanted: object) -> bool:
        return wanted in self.items or any(event.event == wanted for event in self.items)

    def __iter__(self) -> Iterator[LoggedEvent]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<{len(self)} events: {', '.join(event['event'] for event in self.items)}>"


def _seconds(text: str | float) -> float:
    if isinstance(text, int | float):
        return float(text)
    found = _DURATION.fullmatch(text)
    if found is None:
        raise KeysteadError("KS-USE-003", f"{text!r} is no time: write 30s, 10m or 1h")
    return float(found[1]) * _UNITS[found[2]]


class Lab(Commands):
    """A lab for the length of a ``with`` block.

    ``mode``: ``"sim"`` in virtual time, ``"lab"`` on real processes, ``"running"`` for the lab
    ``name`` that ``keystead up`` has started. ``file`` is a path, a shipped Lab file, or its
    content as a dictionary; other keyword arguments change it (``hosts=8``, ``tpm="none"``).
    ``seed`` is drawn if left out. All times are lab time. ``serve``: clients of vSphere reach its
    vCenter at ``url``; in virtual time they make time pass by waiting. It needs the extra
    ``keystead[vsphere]``.
    """

    def __init__(
        self,
        file: str | Path | Mapping[str, Any] = "default",
        *,
        mode: Mode = "sim",
        seed: int | None = None,
        name: str = "default",
        serve: bool = False,
        environment: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        topology = str(file.resolve()) if isinstance(file, Path) else file
        self._opening: dict[str, Any] = {"mode": mode, "name": name}
        if mode != "running":
            self._opening = {"mode": mode, "topology": topology, "options": changes, "seed": seed}
        if serve:
            self._opening["serve"] = True
        self._environment = environment
        self._connection: Connection | None = None
        self._variables: dict[str, str] = {}
        self.mode = mode
        self.seed = seed
        self.given: list[dict[str, Any]] = []
        """Every request since the lab began: with the seed it replays a simulation."""

    def __enter__(self) -> Lab:
        if self._connection is not None:
            raise RuntimeError("this lab is open already")
        self._connection = Connection(self._environment)
        try:
            self.restart()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the lab and its process; a running one goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._variables = {}

    def restart(self) -> None:
        """A fresh lab in the place of this one, of the same seed, although its process may have
        ended. A running lab is only reached anew."""
        if self._connection is not None and self._connection.ended:
            self._connection.close()
            self._connection = Connection(self._environment)
        opened = self._ask(open=self._opening)
        self._variables = plain(opened.serving) if "serving" in opened else {}
        if opened.seed is not None:
            self.seed = self._opening["seed"] = opened.seed
        self.given = [{"open": self._opening}]

    def reset(self) -> None:
        """Heal every fault and bring all back: a simulation begins again with its seed; in a lab of
        real processes faults are healed, hosts and VMs powered on and waited for, and what does
        not come back in ten minutes is a reason to start the lab anew."""
        if self.mode == "sim":
            self.restart()
            return
        try:
            self.heal(all=True, with_cure=True)
            off = [host.host for host in self.get_hosts().items if host.machine == "off"]
            if off:
                self.host_power_on(off)
            self.wait("host.connected=all", "vm.locked=none", within="10m")
            stopped = [vm.vm for vm in self.get_vms().items if vm.power != "poweredOn"]
            if stopped:
                self.vm_on(vms=stopped)
            self.wait(*_UP, within="10m")
        except KeysteadError:
            if self.mode == "running":
                raise
            self.restart()

    def do(self, command: str, arguments: Mapping[str, Any]) -> Any:
        """Give any command of ``keystead schema`` by its name; an ``Answer``. An argument that is
        None is left out. Raises ``KeysteadError``."""
        given = {key: value for key, value in arguments.items() if value is not None}
        return self._ask(do={"command": command, **given})

    def cut(self, a: str, b: str, *, one_way: bool = False) -> str:
        """Cut the link between two nodes; the id of the fault."""
        return str(self.link_cut(a, b, one_way=one_way).fault.id)

    def power_loss(self, *hosts: str) -> None:
        """Pull the power of hosts and give it back."""
        self.host_power_loss(hosts)

    def reboot(self, *hosts: str) -> None:
        """Reboot hosts in order."""
        self.host_reboot(hosts)

    def fault(self, kind: str, /, **values: Any) -> str:
        """Begin any fault of ``keystead explain fault``; its id."""
        return str(self.fault_inject(kind, values=values).fault.id)

    def wait(self, *conditions: str, within: str | float = "10m") -> None:
        """Until all hold, as in ``keystead wait``: ``"vm.running=all"``. KS-WAIT-001 says what does
        not after ``within``, which is lab time: seconds, or a text such as ``"10m"``."""
        self._ask(wait=list(conditions), within_s=_seconds(within))

    def sleep(self, duration: str | float) -> None:
        """Let this much lab time pass."""
        self._ask(sleep=_seconds(duration))

    def events(self, after: int = 0) -> Events:
        """vCenter's events above a number, oldest first."""
        return Events(self._ask(events=after).items)

    def trace(self) -> str:
        """The hash of all that happened; of a simulated lab only."""
        return str(self._ask(trace=True))

    def page(self, title: str = "A lab of keystead") -> str:
        """The lab as it is now and every request that led to it, as the text of an HTML file."""
        return str(self._ask(page=title))

    @property
    def url(self) -> str:
        """Where clients of vSphere connect: ``https://HOST:PORT``. After ``restart``, or ``reset``
        of a simulation, it is another one. KS-USE-003 without ``serve=True``."""
        return self.variables["KEYSTEAD_API_URL"]

    @property
    def user(self) -> str:
        """Who may do everything there."""
        return self.variables["VMWARE_USER"]

    @property
    def password(self) -> str:
        """The password of every user of this lab."""
        return self.variables["VMWARE_PASSWORD"]

    @property
    def ca_file(self) -> str:
        """The certificate authority that signed the server's certificate, a PEM file."""
        return self.variables["KEYSTEAD_CA_FILE"]

    @property
    def variables(self) -> dict[str, str]:
        """What ``keystead env`` prints, for the environment of govc, Ansible and others."""
        if not self._variables:
            raise KeysteadError("KS-USE-003", "no vSphere API is served", "Lab(serve=True)")
        return self._variables

    def _ask(self, **request: Any) -> Any:
        if self._connection is None:
            raise RuntimeError("no lab is open: use `with Lab() as lab:`")
        self.given.append(request)
        return self._connection.ask(**request)


class AsyncLab(AsyncCommands):
    """``async with AsyncLab(...) as lab``: the same as ``Lab``, and its methods are awaited."""

    def __init__(self, file: str | Path | Mapping[str, Any] = "default", **values: Any) -> None:
        self.sync = Lab(file, **values)
        """The same lab without ``await``."""

    async def __aenter__(self) -> AsyncLab:
        await asyncio.to_thread(self.sync.__enter__)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.sync.close)

    do = awaited(Lab.do)
    cut = awaited(Lab.cut)
    fault = awaited(Lab.fault)
    power_loss = awaited(Lab.power_loss)
    reboot = awaited(Lab.reboot)
    wait = awaited(Lab.wait)
    sleep = awaited(Lab.sleep)
    events = awaited(Lab.events)
    trace = awaited(Lab.trace)
    page = awaited(Lab.page)
    reset = awaited(Lab.reset)
    restart = awaited(Lab.restart)
