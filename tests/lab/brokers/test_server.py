"""The broker as a process: found, started, the same port again, gone with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.identities import Identities
from lab.brokers.program import OVERRIDE, find_server, probe
from lab.brokers.server import Broker
from lab.schema.errors import KeysteadError
from protocol.terms import NodeName

pytestmark = pytest.mark.lab


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = Broker(tmp_path, Identities.create(tmp_path, [NodeName("a")]), BrokerKind.DATA)
    yield made
    await made.kill()


async def test_the_port_stays_over_restarts_and_new_objects(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        _ = broker.url
    await broker.start()
    first, pid = broker.url, broker.pid
    await broker.start()  # no change
    assert broker.pid == pid
    await broker.kill()
    assert not broker.alive()
    assert broker.pid is None
    await broker.start()
    await broker.stop()
    await broker.stop()
    assert not broker.alive()
    other = Broker(tmp_path, Identities.load(tmp_path), BrokerKind.DATA)
    assert other.url == first
    await other.start()
    assert other.url == first
    await other.kill()


async def test_both_brokers_of_a_lab_run_beside_each_other_on_loopback(tmp_path: Path) -> None:
    identities = Identities.create(tmp_path, [NodeName("a")], agents=1)
    pair = [Broker(tmp_path, identities, kind) for kind in BrokerKind]
    for each in pair:
        await each.start()
    assert pair[0].url != pair[1].url
    for each in pair:
        assert each.pid is not None
        listening = [
            c.laddr.ip
            for c in psutil.Process(each.pid).net_connections()
            if c.status == psutil.CONN_LISTEN
        ]
        assert listening == ["127.0.0.1"]
        assert (each.folder / "broker.conf").stat().st_mode & 0o077 == 0
        await each.kill()


@pytest.mark.parametrize(
    "name",
    [
        'say "no"',
        "back\\slash",
        "it's",
        "new\nline",
        "tab\t$HOME",
        "häuser",
        "{ } # ;",
        "\udcff",
    ],
)
async def test_a_folder_of_any_name_is_its_own(tmp_path: Path, name: str) -> None:
    """What stands in a state folder's path is text to its configuration, and nothing else."""
    folder = tmp_path / name
    folder.mkdir()
    broker = Broker(folder, Identities.create(folder, [NodeName("a")]), BrokerKind.DATA)
    await broker.start()
    assert broker.alive() and broker.log.stat().st_size > 0
    await broker.kill()


async def test_a_paused_broker_is_alive_and_hears_that_it_shall_stop(broker: Broker) -> None:
    await broker.start()
    broker.pause()
    assert broker.alive() and broker.paused
    assert broker.pid is not None
    process = psutil.Process(broker.pid)
    async with asyncio.timeout(30):  # a signal takes its time with many threads
        while process.status() != psutil.STATUS_STOPPED:
            await asyncio.sleep(0.001)
    its = broker._process
    await broker.stop()
    assert its is not None and its.returncode != -signal.SIGKILL, "it ended in order"
    assert not broker.alive() and not broker.paused


async def test_a_reload_is_found_in_a_log_that_was_rotated_meanwhile(broker: Broker) -> None:
    await broker.start()
    await broker.reload()
    await broker._reload_done(broker.log, 1 << 40)  # where the log before it had its end


async def test_a_taken_port_is_named_and_nothing_is_left(broker: Broker) -> None:
    await broker.start()
    port = int(broker.url.rsplit(":", 1)[1])
    await broker.stop()
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", port))
        thief.listen()
        with pytest.raises(KeysteadError, match="did not start") as caught:
            await broker.start()
    assert caught.value.id == "KS-BROKER-002"
    assert "address already in use" in str(caught.value)
    assert not broker.alive()
    await broker.start()  # and once the port is free it does


async def test_another_server_on_the_port_is_not_taken_for_ours(
    broker: Broker, tmp_path: Path
) -> None:
    await broker.start()
    await broker.kill()
    port = broker.url.rsplit(":", 1)[1]
    other = await on_port(tmp_path, port)
    with pytest.raises(KeysteadError) as caught:
        await broker.start()
    assert caught.value.id == "KS-BROKER-002"
    assert not broker.alive()
    assert other.alive()
    await other.kill()


async def on_port(tmp_path: Path, port: str) -> Broker:
    """Another lab's broker, at that port."""
    folder = tmp_path / "other"
    other = Broker(folder, Identities.create(folder), BrokerKind.DATA)
    other.folder.mkdir()
    (other.folder / "endpoint.json").write_text(f'{{"port": {port}, "server_name": "theirs"}}')
    await other.start()
    return other


async def test_a_port_that_was_taken_while_the_lab_was_down_is_chosen_anew(
    broker: Broker, tmp_path: Path
) -> None:
    """Ports of the loopback interface are everybody's: a lab that was down has no claim to its."""
    await broker.start()
    await broker.stop()
    before = broker.url
    other = await on_port(tmp_path, before.rsplit(":", 1)[1])
    again = Broker(tmp_path, Identities.load(tmp_path), BrokerKind.DATA)
    try:
        await again.start()
        assert other.url == before != again.url and again.server_name == broker.server_name
    finally:
        await again.kill()
        await other.kill()


async def test_a_refused_configuration_is_told(broker: Broker) -> None:
    await broker.start()

    class Broken(Identities):
        def node_nkeys(self) -> tuple[tuple[NodeName, str], ...]:
            return ((NodeName("a"), "UNOTANKEY"),)

    broker._identities = Broken(broker.folder.parent)
    with pytest.raises(KeysteadError) as caught:
        await broker.reload()
    assert caught.value.id == "KS-BROKER-003"
    assert broker.alive()


PARENT = """
import asyncio, sys
from pathlib import Path
from lab.brokers.server import Broker
from lab.brokers.configuration import BrokerKind
from lab.brokers.identities import Identities

async def main(folder):
    brokers = [Broker(folder, Identities.create(folder), kind) for kind in BrokerKind]
    for broker in brokers:
        await broker.start()
    brokers[0].pause()
    print(*(broker.pid for broker in brokers), flush=True)
    await asyncio.sleep(600)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_no_broker_outlives_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Not even a paused one."""
    root = Path(__file__).parents[3]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, cwd=root
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)
    limit = time.monotonic() + 30  # usually a millisecond; the promise is five seconds
    while left := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < limit, f"still there: {left}"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_launcher_refuses_a_parent_that_is_gone(tmp_path: Path) -> None:
    launcher = Path(__file__).parents[3] / "lab" / "processes" / "die_with_parent.py"
    ran = subprocess.run(
        [sys.executable, "-I", "-S", launcher, str(os.getpid() + 1), "/bin/true"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "gone" in ran.stderr


def _pretend(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_the_override_is_taken_at_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = find_server()
    assert real.version >= (2, 10, 0)
    monkeypatch.setenv(OVERRIDE, str(real.path))
    assert find_server() == real
    for name, says, word in (
        ("old", "nats-server: v2.9.25", "older than 2.10"),
        ("cat", "meow 3.1.0", "does not run"),
    ):
        monkeypatch.setenv(OVERRIDE, str(_pretend(tmp_path / name, says)))
        with pytest.raises(KeysteadError, match=word) as caught:
            find_server()
        assert caught.value.id == "KS-BROKER-001"
    monkeypatch.setenv(OVERRIDE, str(tmp_path / "none"))
    with pytest.raises(KeysteadError, match="does not run"):
        find_server()


def test_without_the_wheel_the_path_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(OVERRIDE, raising=False)
    monkeypatch.setattr("lab.brokers.program._of_wheel", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KeysteadError, match="no nats-server") as caught:
        find_server()
    assert caught.value.id == "KS-BROKER-001"
    server = _pretend(tmp_path / "nats-server", "nats-server: v2.9.25")
    with pytest.raises(KeysteadError, match=r"older than 2\.10"):
        find_server()
    _pretend(server, "nats-server: v2.10.27")
    probe.cache_clear()
    assert find_server().version == (2, 10, 27)


async def test_a_start_that_is_cancelled_leaves_nothing(broker: Broker) -> None:
    starting = asyncio.create_task(broker.start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not broker.alive()


async def test_why_it_did_not_start_is_told_without_the_time_of_day(
    broker: Broker, tmp_path: Path
) -> None:
    """It is told once where it is tried again and again."""
    await broker.start()
    await broker.kill()
    other = await on_port(tmp_path, broker.url.rsplit(":", 1)[1])
    told = []
    for _ in range(2):
        with pytest.raises(KeysteadError) as caught:
            await broker.start()
        told.append(str(caught.value))
    await other.kill()
    assert told[0] == told[1]
