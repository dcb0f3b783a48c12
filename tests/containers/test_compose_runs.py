"""The compose file for real: an image is made without any image registry, a lab comes up, an
experiment is played on it, a container is killed and comes back, and nothing is left at the end.

It is as slow as compiling a package for two minutes and an experiment are: nothing less shows that
the files are right.
"""

from __future__ import annotations

import json
import re
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import ROOT, Engine, attached
from tests.lab.cli.conftest import Cli, until

pytestmark = [
    pytest.mark.container,
    pytest.mark.slow,
    pytest.mark.lab,
    pytest.mark.timeout(1200),
    pytest.mark.one_worker("podman"),
]

HOSTS = 3


def items(outside: Cli, *words: str) -> list[dict[str, Any]]:
    ran = outside("get", *words, "-n", "compose", "-o", "json")
    return ran.items() if ran.code == 0 else []


def test_a_lab_in_containers_from_its_image_to_its_end(engine: Engine, tmp_path: Path) -> None:
    outside = Cli(tmp_path / "outside")
    try:
        begun = time.monotonic()
        engine.compose("up", "-d", "--no-build", "--scale", f"esxi={HOSTS}", within_s=300)
        attached(engine, outside)

        def running(count: int) -> bool:
            hosts, vms = items(outside, "hosts"), items(outside, "vms")
            up = [h for h in hosts if (h["connection"], h["machine"]) == ("connected", "running")]
            on = [vm for vm in vms if (vm["power"], vm["crypto"]) == ("poweredOn", "unlocked")]
            return len(up) == len(on) == count

        assert until(lambda: running(HOSTS), 120), items(outside, "hosts")
        print(f"{HOSTS} hosts are ready after {time.monotonic() - begun:.1f} s")
        _may_do_no_more_than_it_must(engine)
        _has_what_runs_and_no_tools(engine)
        _experiment(engine)
        _killed_and_back(engine, outside)
    finally:
        engine.compose("down", "-v", "--timeout", "20", within_s=200)
    assert engine.containers() == []
    assert engine.podman("volume", "ls", "-q").split() == []
    assert engine.podman("network", "ls", "-q", "--filter", f"name={engine.project}").split() == []


def _has_what_runs_and_no_tools(engine: Engine) -> None:
    """The bill of materials names what the lock of the runtime pins; tools of tests are absent."""
    told = engine.compose("exec", "-T", "esxi", "cat", "/usr/share/sbom.cdx.json")
    purls = {component["purl"].partition("?")[0] for component in json.loads(told)["components"]}
    python = {purl.removeprefix("pkg:pypi/") for purl in purls if purl.startswith("pkg:pypi/")}
    pinned = re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert python - {f"{name}@{version}" for name, version in pinned} == {
        f"keystead@{metadata.version('keystead')}"
    }
    assert {name.partition("@")[0] for name in python} >= {"msgspec", "nats-py", "tpm2-pytss"}
    assert not {name.partition("@")[0] for name in python} & {"uv", "setuptools", "pykmip", "pip"}
    assert {purl for purl in purls if purl.startswith("pkg:deb/debian/libtpms0@")}


def _may_do_no_more_than_it_must(engine: Engine) -> None:
    """What the file asks for is in force."""
    ask = "id -u; touch /x /opt/keystead/x 2>&1; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status"
    told = engine.compose("exec", "-T", "esxi", "sh", "-c", ask)
    assert told.split("\n")[0] == "10001" and told.count("Read-only file system") == 2
    assert "CapEff:\t0000000000000000" in told and "NoNewPrivs:\t1" in told


def _experiment(engine: Engine) -> None:
    """E1: key server and vCenter out of reach, then every host loses power."""
    words = ("keystead", "chaos", "run", "edge-outage-reboot", "--mode", "lab", "--on", "compose")
    told = engine.compose("exec", "-T", "supervisor", *words, within_s=300)
    assert "PASS (exit 0)" in told


def _killed_and_back(engine: Engine, outside: Cli) -> None:
    """A container that is killed is a machine without power: its host boots with its own TPM."""
    first = next(c for c in engine.containers() if "-esxi-1" in c["Names"][0])
    name = first["Id"][:12]
    boots = {host["host"]: host["boot"] for host in items(outside, "hosts")}
    engine.podman("kill", name)

    def stands(standing: str) -> bool:
        machines = {m["machine"]: m["standing"] for m in items(outside, "machines")}
        return machines.get(name) == standing

    assert until(lambda: stands("away"), 60)
    engine.podman("start", name)
    assert until(lambda: stands("joined"), 60)

    def again() -> bool:
        booted = [h for h in items(outside, "hosts") if h["boot"] > boots[h["host"]]]
        seen = [(host["connection"], host["crypto_state"]) for host in booted]
        return seen == [("connected", "safe")]

    assert until(again, 90), items(outside, "hosts")
    engine.podman("healthcheck", "run", name)
