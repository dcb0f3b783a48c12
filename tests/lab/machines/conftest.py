"""A lab of two machines: its file, and its folder without processes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lab.brokers.identities import Identities
from lab.machines import listening
from lab.machines.listening import Address
from lab.state.state_folder import LabFolder, LabRecord
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan


def lab_file(**changes: Any) -> dict[str, Any]:
    """A key server and vCenter here, a host here and one on machine ``east``."""
    host = {"count": 1, "tpm": "none"}
    vms = {"count": 1, "provider": "kms-provider"}
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "far",
        "pace": 100,
        "vcenters": [{"name": "vcenter"}],
        "kms": [{"name": "kms"}],
        "providers": [{"name": "kms-provider", "servers": ["kms"]}],
        "clusters": [
            {"name": "a", "hosts": host, "vms": vms},
            {"name": "b", "hosts": host, "vms": vms},
        ],
        "machines": [{"name": "east", "clusters": ["b"], "lease_s": 15}],
        **changes,
    }


def trusted_file(**changes: Any) -> dict[str, Any]:
    """vCenters and a key server here, a trusted cluster and the two hosts of its Trust Authority
    on machines of their own."""
    clusters = [
        {
            "name": "a",
            "hosts": {"count": 2, "tpm": "libtpms"},
            "vms": {"count": 2, "provider": "trusted-provider"},
        }
    ]
    return (
        lab_file(
            pace=30,
            vcenters=[{"name": "vcenter"}, {"name": "ta-vcenter"}],
            providers=[{"name": "trusted-provider", "type": "trusted", "servers": ["kms"]}],
            trust_authority={
                "vcenter": "ta-vcenter",
                "cluster": "ta",
                "hosts": 2,
                "clusters": ["a"],
            },
            clusters=clusters,
            machines=[
                {"name": "east", "clusters": ["a"]},
                {"name": "west", "clusters": ["ta"], "lease_s": 4},
            ],
        )
        | changes
    )


@pytest.fixture
def topology() -> Topology:
    return plan(load(lab_file()))


@pytest.fixture
def folder(topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabFolder:
    """As ``up`` has made it, when its TLS proxy has been opened."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "state"))
    made = LabFolder("far")
    made.make()
    file = load(lab_file()).model_dump(mode="json")
    made.save(LabRecord(name="far", file=file, seed=1, wall=time.time()))
    identities = Identities.create(made.path, [spec.node for spec in topology.nodes])
    for number in range(1, len(topology.groups) + 1):
        identities.add_agent(number)
    identities.add_machine("east")
    listening.ensure_proxy_certificate(made.path / "tls-proxy", "far")
    at = Address("127.0.0.1", 4333)
    (made.path / "tls-proxy" / "address.json").write_bytes(
        b'{"host":"%b","port":%d}' % (at.host.encode(), at.port)
    )
    return made
