"""A lab has the TPMs that its file says, in either mode: a mode only chooses what plays them."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.local.experiment_files import prepare_experiment
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import Topology
from protocol.messages.agent import TpmBackend
from protocol.terms import Role

NONE, MODEL, REAL = TpmBackend.NONE, TpmBackend.MODEL, TpmBackend.LIBTPMS
HALF = "sc-43-stolen-disk"  # two hosts with a TPM, two without
FILE: dict[str, Any] = {
    "apiVersion": "keystead/v1",
    "kind": "Lab",
    "vcenters": [{"name": "vcenter"}],
    "kms": [{"name": "sealed", "tpm": "libtpms", "root": "tpm"}, {"name": "plain"}],
    "clusters": [
        {"name": "real", "hosts": {"count": 2, "without_tpm": 1}},
        {"name": "model", "hosts": {"count": 1, "tpm": "model"}},
        {"name": "none", "hosts": {"count": 1, "tpm": "none"}},
    ],
}


def tpms(topology: Topology, role: Role = Role.ESXI) -> list[TpmBackend]:
    return [spec.tpm for spec in topology.nodes if spec.role is role]


@pytest.mark.parametrize(
    ("mode", "asked", "with_tpm"),
    [
        ("sim", None, MODEL),
        ("sim", "libtpms", REAL),
        ("lab", None, REAL),
        ("lab", "model", MODEL),
        ("lab", "none", NONE),
    ],
)
def test_no_mode_gives_a_tpm_to_a_host_that_has_none(
    mode: str, asked: str | None, with_tpm: TpmBackend
) -> None:
    played = prepare_experiment(HALF, 1, asked, mode).topology
    assert tpms(played) == [with_tpm, with_tpm, NONE, NONE]


def test_the_library_replaces_real_tpms_of_hosts_and_key_servers_in_the_simulation() -> None:
    simulated, real = Lab("sim", topology=FILE).topology, Lab("lab", topology=FILE).topology
    assert tpms(simulated) == [MODEL, NONE, MODEL, NONE]
    assert tpms(real) == [REAL, NONE, MODEL, NONE]
    assert tpms(simulated, Role.KMS) == [MODEL, NONE]
    assert tpms(real, Role.KMS) == [REAL, NONE]


@pytest.mark.parametrize(
    ("asked", "hosts", "servers"),
    [
        ("model", [MODEL, NONE, MODEL, NONE], [MODEL, NONE]),
        ("libtpms", [REAL, NONE, REAL, NONE], [REAL, NONE]),
        ("none", [NONE, NONE, NONE, NONE], [REAL, NONE]),
    ],
)
def test_the_option_says_what_plays_the_tpms_of_the_file_or_takes_those_of_hosts_away(
    asked: str, hosts: list[TpmBackend], servers: list[TpmBackend]
) -> None:
    file = FILE if asked != "none" else {**FILE, "clusters": _all_with_one(FILE)}
    played = Lab("lab", topology=file, tpm=asked).topology
    assert tpms(played) == hosts
    assert tpms(played, Role.KMS) == servers


def _all_with_one(file: dict[str, Any]) -> list[dict[str, Any]]:
    """Without ``without_tpm``, which needs a host with one."""
    return [
        {**cluster, "hosts": {k: v for k, v in cluster["hosts"].items() if k != "without_tpm"}}
        for cluster in file["clusters"]
    ]


@pytest.mark.parametrize("asked", ["model", "libtpms"])
def test_an_option_for_tpms_that_no_host_has_is_refused(asked: str) -> None:
    none = {**FILE, "clusters": [FILE["clusters"][2]]}
    with pytest.raises(KeysteadError, match="no host of this lab has a TPM") as caught:
        Lab("sim", topology=none, tpm=asked)
    assert caught.value.id == "KS-USE-003"
    assert tpms(Lab("sim", topology=none).topology) == [NONE]


@pytest.mark.parametrize("hosts", [{"tpm": "none"}, {"without_tpm": 1}, {"secure_boot": False}])
def test_a_trusted_cluster_has_no_host_without_tpm_or_secure_boot(hosts: dict[str, Any]) -> None:
    """TA-03."""
    file = load("trusted").model_dump(mode="json")
    file["clusters"][0]["hosts"].update(hosts)
    with pytest.raises(KeysteadError, match=r"each trusted host has a TPM and Secure Boot on"):
        load(file)
