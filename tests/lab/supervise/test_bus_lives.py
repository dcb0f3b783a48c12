"""Servers of a bus that die, do not come back, or are not there: the lab goes on, and says so."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from lab.brokers.program import find_server
from tests.lab.cli.conftest import Cli, until
from tests.lab.supervise.test_lives import SMALL, child, listed, up, warned

pytestmark = pytest.mark.lab


def blocked(cli: Cli, number: int) -> Path:
    """The configuration of that server cannot be written: there is a folder in its place."""
    config = cli.home / "labs" / "default" / f"broker-data-{number}" / "broker.conf"
    config.unlink()
    config.mkdir()
    return config


@pytest.mark.slow
def test_a_lab_goes_on_without_a_server_that_cannot_be_had_again(cli: Cli) -> None:
    supervisor = up(cli, "--bus", "3")
    config = blocked(cli, 2)
    child(supervisor, "broker-data-2").kill()
    assert until(lambda: warned(cli, "the server 2 of the bus does not start"), 20)
    until(lambda: False, 12)  # as often as it is tried before a lab is given up
    assert listed(cli)["state"] == "running"
    cli.ok("host", "reboot", "esxi-001")
    config.rmdir()
    assert until(lambda: cli("fault", "broker.down", "on=2").code == 0, 30), "it is back"
    cli.ok("heal", "--all")


@pytest.mark.slow
def test_a_server_that_cannot_be_started_at_the_heal_is_told_and_others_are_healed(
    cli: Cli,
) -> None:
    up(cli, "--bus", "3")
    cli.ok("link", "cut", "vcenter", "kms")
    begun = cli.ok("fault", "broker.down", "on=2")
    assert "moved: " in begun.err and "lost: calls_cut " in begun.err
    shown = cli.ok("get", "faults")
    assert "FOUND" in shown.out and "moved: " in shown.out
    config = blocked(cli, 2)
    ran = cli("heal", "--all")
    assert ran.code == 1 and "error KS-CHAOS-103: broker-down-1: " in ran.err, ran
    assert "link-cut-1" in ran.out
    assert [f["id"] for f in cli.ok("get", "faults", "-o", "json").items()] == ["broker-down-1"]
    config.rmdir()
    cli.ok("heal", "--all")
    assert cli.ok("get", "faults", "-o", "json").items() == []


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_one_of_the_servers_of_somebody_else_is_away_and_the_lab_starts(
    cli: Cli, tmp_path: Path
) -> None:
    ports = [free_port(), free_port()]
    bus = ("--bus", ",".join(f"nats://127.0.0.1:{port}" for port in ports))
    accounts = tmp_path / "lab.conf"
    cli.ok("lab", "broker-config", *SMALL[:-2], *bus, "--out", str(accounts))
    config = tmp_path / "server.conf"
    config.write_text(
        f'host: "127.0.0.1"\nport: {ports[0]}\naccounts {{\n  include "lab.conf"\n  S: {{ }}\n}}\n'
        "system_account: S\n"
    )
    server = subprocess.Popen(
        [find_server().path, "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ran = cli.ok("up", *SMALL, *bus)
        told = f"nats://127.0.0.1:{ports[1]} does not answer"
        assert "notice:" in ran.out and told in ran.out and "missing" not in ran.out
        assert warned(cli, told)
        supervisor = psutil.Process(cli.ok("status", "-o", "json").json["supervisor"])
        supervisor.kill()
        assert cli.alone()
        again = cli.ok("up", "-o", "json").json
        assert told in again["notices"][0] and again["missing"] == []
    finally:
        server.kill()
        server.wait()
