"""A supervisor whose event loop stands still says so, in its log and in ``status``."""

from __future__ import annotations

import os

import pytest

from tests.lab.cli.conftest import Cli, until

pytestmark = pytest.mark.lab


@pytest.mark.slow
def test_a_supervisor_that_stands_still_says_where(cli: Cli) -> None:
    """Its own identity is a pipe now, and is read before a fault is written down."""
    cli.ok("up", "--hosts", "1", "--vms", "0", "--tpm", "none", "--pace", "100")
    lab = cli.home / "labs" / "default"
    identity = lab / "identity" / "control" / "supervisor.json"
    kept = identity.read_bytes()
    identity.unlink()
    os.mkfifo(identity)
    cutting = cli.begin("link", "cut", "vcenter", "kms")
    log = lab / "logs" / "supervisor.log"
    assert until(lambda: "has been standing still for" in log.read_text(), 20)
    with identity.open("wb") as pipe:  # whoever reads it gets on
        identity.unlink()
        identity.write_bytes(kept)
        pipe.write(kept)
    told = cutting.communicate(timeout=30)
    assert cutting.returncode == 0, told
    assert until(lambda: "stood still for" in log.read_text(), 10)
    stood = {one["process"]: one for one in cli.ok("status", "-o", "json").json["stood"]}
    own = stood["supervisor"]
    assert own["times"] >= 1 and own["longest_s"] > 1
    assert "lab/brokers/identities.py" in own["where"]
    shown = [line for line in cli.ok("status").out.splitlines() if "stood still" in line]
    assert any("supervisor: " in line and " over a second, at most " in line for line in shown)
