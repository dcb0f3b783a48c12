"""A lab on two machines whose bus is a cluster, or on servers that somebody else runs."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.schema.commands import FaultInject, GetNodes, GetVms, Heal, HostReboot, VmCreate
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from tests.lab.brokers.theirs import Theirs, certificate
from tests.lab.cli.conftest import Cli, until
from tests.lab.machines.conftest import lab_file
from tests.lab.machines.test_story import Far, Two

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "here"))
    return Cli(tmp_path / "here")


@contextmanager
def joined(
    here: Cli, folder: Path, bus: Any, before: Callable[[], object] = bool
) -> Iterator[tuple[Two, subprocess.Popen[str]]]:
    """``up`` of a lab with this bus, whose machine ``east`` has joined, and what is done ``before``
    it does."""
    file, bundle = folder / "far.yaml", folder / "east.bundle"
    file.write_text(json.dumps(lab_file(bus=bus)))
    far = Far(folder / "far")
    try:
        up = here.begin("up", str(file), "-n", "far", "--progress", "plain")
        heard = ("wait for machine east" in line for line in up.stderr or ())
        assert any(heard), up.communicate(timeout=10)
        here.ok("lab", "bundle", "east", "-n", "far", "-o", str(bundle))
        before()
        far.join(bundle)
        yield Two(here, far, bundle), up
    finally:
        far.end()
        here.end()


def ready(up: subprocess.Popen[str]) -> None:
    _, told = up.communicate(timeout=90)
    assert up.returncode == 0, told


def all_unlocked(two: Two) -> bool:
    vms = two.ask(GetVms()).items
    return {vm.host for vm in vms} == {"esxi-001", "esxi-002"} and all(
        (vm.crypto, vm.connection) == ("unlocked", "connected") for vm in vms
    )


def lost_links(two: Two) -> int:
    """How often the host there has lost its link."""
    (node,) = (n for n in two.ask(GetNodes()).items if n.node == "esxi-002")
    return node.counters.get("disconnects", 0)


@pytest.mark.slow
def test_each_of_three_servers_is_lost_in_turn(here: Cli, tmp_path: Path) -> None:
    with joined(here, tmp_path, {"servers": 3}) as (two, up):
        ready(up)
        assert until(lambda: all_unlocked(two), 30)
        before = lost_links(two)
        for number in (1, 2, 3):
            begun = two.ask(FaultInject("broker.down", {"on": number})).fault
            assert not begun.found.get("parted"), begun
            two.ask(VmCreate(f"vm-{number}", encrypted=True, host="esxi-002"))
            two.ask(HostReboot(("esxi-002",)))
            assert until(lambda: all_unlocked(two), 60), two.ask(GetVms())
            two.ask(Heal((), True))
        assert lost_links(two) > before or two.machine().processes == 1
        with pytest.raises(KeysteadError):
            two.ask(FaultInject("broker.down", {"on": 4}))
        cut = two.ask(FaultInject("broker.route_cut", {"between": [1, 2]})).fault
        two.ask(Heal((cut.id,), False))


@pytest.mark.slow
@pytest.mark.parametrize("secured", [False, True], ids=["clear", "tls"])
async def test_servers_of_somebody_else_are_reached_from_there(
    here: Cli, tmp_path: Path, secured: bool
) -> None:
    pem = certificate(tmp_path, "right")
    tls = f'tls {{ cert_file: "{pem}", key_file: "{pem.with_suffix(".key")}" }}' if secured else ""
    server = Theirs(tmp_path / "server", "", tls)
    await server.start()
    scheme = "tls" if secured else "nats"
    bus: dict[str, str] = {"url": f"{scheme}://127.0.0.1:{server.port}"}
    bus |= {"authority": str(pem)} if secured else {}
    file = tmp_path / "theirs.yaml"
    file.write_text(json.dumps(lab_file(bus=bus)))
    config = here.ok("lab", "broker-config", str(file), "-n", "far").out
    server.write(config)
    server.reload()
    try:
        with joined(here, tmp_path, bus) as (two, up):
            ready(up)
            assert await asyncio.to_thread(until, lambda: all_unlocked(two), 30)
            (proxy,) = (p for p in here.processes() if "lab.machines.tls_proxy" in p.cmdline())
            assert not [word for word in proxy.cmdline() if word.startswith("data=")]
            assert await server.connections() == 5, "four nodes, and who watches"
            here.ok("down", "-n", "far")
    finally:
        await server.stop()


@pytest.mark.slow
async def test_a_bus_that_is_not_reached_from_there_is_told_before_a_node_starts(
    here: Cli, tmp_path: Path
) -> None:
    """It was there when the lab looked, and has gone before the machine came."""
    server = Theirs(tmp_path / "server", "")
    await server.start()
    bus = {"url": f"nats://127.0.0.1:{server.port}"}
    file = tmp_path / "theirs.yaml"
    file.write_text(json.dumps(lab_file(bus=bus)))
    server.write(here.ok("lab", "broker-config", str(file), "-n", "far").out)
    server.reload()
    try:
        with joined(here, tmp_path, bus, before=server.kill) as (_, up):
            _, told = up.communicate(timeout=90)
            assert up.returncode == 1 and "KS-BROKER-004" in told, told
            assert "machine east: nats://" in told and "from every machine" in told
    finally:
        await server.stop()


def test_hosts_of_a_pool_are_known_to_no_administrator() -> None:
    pool = [{"name": "east", "clusters": ["b"], "pool": True}]
    clusters = lab_file()["clusters"]
    clusters[1] = clusters[1] | {"hosts": {"count": 0, "tpm": "none"}}
    with pytest.raises(KeysteadError, match="no administrator has heard of them"):
        load(lab_file(machines=pool, clusters=clusters, bus="nats://a:1"))
    load(lab_file(machines=pool, clusters=clusters, bus={"servers": 3}))
