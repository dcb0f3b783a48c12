"""The profile ``trusted`` for real: a Trust Authority in containers of its own, and hosts that ask
it for their keys, whose containers and whose services' containers are killed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import Engine, attached
from tests.lab.cli.conftest import Cli, until

pytestmark = [
    pytest.mark.container,
    pytest.mark.slow,
    pytest.mark.lab,
    pytest.mark.timeout(1200),
    pytest.mark.one_worker("podman"),
]

HOSTS = {"esxi": 1, "trusted": 2}


class Trusted:
    """The lab, as it is seen from outside."""

    def __init__(self, engine: Engine, outside: Cli) -> None:
        self.engine, self.outside = engine, outside

    def items(self, *words: str) -> list[dict[str, Any]]:
        ran = self.outside("get", *words, "-n", "compose", "-o", "json")
        return ran.items() if ran.code == 0 else []

    def attested(self) -> set[str]:
        hosts = self.items("trusted-hosts")
        return {h["host"] for h in hosts if (h["health"], h["attestation"]) == ("OK", "attested")}

    def running(self) -> bool:
        """Whether every VM runs, on hosts of both kinds."""
        vms = self.items("vms")
        on = [vm for vm in vms if (vm["power"], vm["crypto"]) == ("poweredOn", "unlocked")]
        own = {vm["host"] for vm in on if vm["key"].startswith("trusted-provider/")}
        wanted = sum(HOSTS.values()), HOSTS["trusted"]
        return (len(on), len(own)) == wanted and own == self.attested()

    def container(self, service: str, number: int = 1) -> str:
        name = f"{self.engine.project}-{service}-{number}"
        (found,) = [c["Id"][:12] for c in self.engine.containers() if c["Names"][0] == name]
        return str(found)

    def killed(self, service: str, machine: str = "") -> str:
        """Kill a container; return when the lab has seen that its machine is away."""
        container = self.container(service)
        self.engine.podman("kill", container)
        assert until(lambda: self.standing(machine or container) == "away", 60)
        return container

    def standing(self, machine: str) -> str:
        return next(
            (str(m["standing"]) for m in self.items("machines") if m["machine"] == machine), ""
        )


def test_hosts_get_their_keys_from_services_in_containers_of_their_own(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(engine.env, "COMPOSE_PROFILES", "trusted")
    lab = Trusted(engine, Cli(tmp_path / "outside"))
    try:
        begun = time.monotonic()
        scale = [word for name, n in HOSTS.items() for word in ("--scale", f"{name}={n}")]
        engine.compose("up", "-d", "--no-build", *scale, within_s=400)
        attached(engine, lab.outside)
        assert until(lab.running, 120), (lab.items("vms"), lab.items("trusted-hosts"))
        print(f"\nall VMs run after {time.monotonic() - begun:.1f} s")
        print({name: round(cpu_s, 2) for name, cpu_s in engine.cpu_s().items()})
        _host_back_while_both_vcenters_are_down(lab)
        _services_killed_and_back(lab)
        _experiment(engine)
    finally:
        engine.compose("down", "-v", "--timeout", "20", within_s=300)
    assert engine.containers() == []
    assert engine.podman("volume", "ls", "-q").split() == []


def _host_back_while_both_vcenters_are_down(lab: Trusted) -> None:
    """Its container is killed: a host without power that comes back with its own TPM."""
    container = lab.container("trusted")
    (host,) = next(m["node_names"] for m in lab.items("machines") if m["machine"] == container)
    lab.killed("trusted")
    lab.outside.ok("fault", "vcenter.down", "-n", "compose")
    lab.engine.podman("start", container)

    def back() -> bool:
        told = lab.outside("describe", "host", host, "-n", "compose").out
        return "crypto mode:      safe" in told and " poweredOn" in told

    assert until(back, 90), lab.outside("describe", "host", host, "-n", "compose").out
    lab.outside.ok("heal", "--all", "-n", "compose")
    assert until(lab.running, 90)


def _services_killed_and_back(lab: Trusted) -> None:
    """Of two hosts of the Trust Authority one is enough; it is there again by itself."""
    container = lab.killed("trust-1", "trust-1")
    hosts = [h for h in lab.attested() if h]
    lab.outside.ok("host", "power-loss", *hosts, "-n", "compose")
    assert until(lab.running, 120), lab.items("vms")
    lab.engine.podman("start", container)

    def well() -> bool:
        return {item["health"] for item in lab.items("trust-authority")} == {"OK"}

    assert until(well, 90), lab.items("trust-authority")


def _experiment(engine: Engine) -> None:
    """Both vCenters down, and every host without power."""
    words = ("keystead", "chaos", "run", "trusted-outage-reboot", "--mode", "lab")
    told = engine.compose("exec", "-T", "supervisor", *words, "--on", "compose", within_s=300)
    assert "PASS (exit 0)" in told
