"""How soon a scaled service is ready: ``docker compose up -d --scale esxi=N`` from built images.

``KEYSTEAD_CONTAINER_HOSTS`` is N; 6 without it, which shows that it works. Figures are printed
(``pytest -s``), and none of them fails the test: they are of the machine as it is.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from pathlib import Path

import pytest

from lab.local.remote import Remote
from lab.schema.commands import GetHosts, GetVms
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder
from protocol.terms import HostConnectionState, PowerState, VmCryptoState
from tests.containers.engine import Engine, attached
from tests.lab.cli.conftest import Cli

pytestmark = [
    pytest.mark.container,
    pytest.mark.slow,
    pytest.mark.lab,
    pytest.mark.timeout(1200),
    pytest.mark.one_worker("podman"),
]

LIMIT_S = 600.0
BASE = ("supervisor", "kms", "vcenter")


async def ready() -> tuple[int, int]:
    """How many hosts are connected, and how many VMs run and can be read."""
    async with Remote(LabFolder("compose")) as lab:
        hosts, vms = (await lab.do(GetHosts())).items, (await lab.do(GetVms())).items
    on = [v for v in vms if v.power is PowerState.ON and v.crypto is VmCryptoState.UNLOCKED]
    return sum(host.connection is HostConnectionState.CONNECTED for host in hosts), len(on)


def told(text: str, begun: float) -> None:
    print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)


def test_many_hosts_are_ready_soon_after_one_command(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = int(os.environ.get("KEYSTEAD_CONTAINER_HOSTS", "6"))
    outside = Cli(tmp_path / "outside")
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(outside.home))
    print()
    own_s, begun = engine.own_cpu_s(), time.monotonic()
    words = ("up", "-d", "--no-build", "--scale", f"esxi={count}")
    up = engine.begin(*words)
    try:
        while not (up.poll() is not None or "(healthy)" in engine.podman("ps")):
            time.sleep(0.2)
        attached(engine, outside)
        told("the supervisor lets machines join", begun)
        seen = (-1, -1)
        while seen != (count, count):
            assert time.monotonic() - begun < LIMIT_S and up.poll() in (None, 0), seen
            time.sleep(0.5)
            try:
                before, seen = seen, asyncio.run(ready())
            except KeysteadError:
                continue  # it is being built
            if seen != before:
                told(f"{seen[0]} hosts are connected, {seen[1]} VMs run", begun)
        up.wait(60)
        used, own_s = engine.cpu_s(), engine.own_cpu_s() - own_s
        hosts = sorted(cpu_s for name, cpu_s in used.items() if "-esxi-" in name)
        each = ", ".join(f"{part} {used[f'{engine.project}-{part}-1']:.2f}" for part in BASE)
        print(f"CPU seconds: a host {hosts[0]:.2f} to {hosts[-1]:.2f}, median ", end="")
        print(f"{statistics.median(hosts):.2f}; {each}; engine and looks {own_s:.1f}; ", end="")
        print(f"all {sum(used.values()) + own_s:.1f}")
        assert len(hosts) == count
    finally:
        up.kill()
        engine.compose("down", "-v", "--timeout", "20", within_s=300)
