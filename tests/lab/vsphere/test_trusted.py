"""What vAPI tells of a Trust Authority and of a trusted cluster, at the vCenter of each."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from lab.schema import commands as c
from tests.lab.vsphere.conftest import Served
from tests.lab.vsphere.test_vapi import Client

pytestmark = [pytest.mark.sim, pytest.mark.slow]
BASE = "/vcenter/trusted-infrastructure"


def _served(tmp_path_factory: pytest.TempPathFactory, vcenter: str) -> Served:
    made = Served(tmp_path_factory.mktemp(vcenter), topology="trusted", vcenter=vcenter)
    made.start()
    return made


def test_a_trust_authority_tells_what_it_consists_of(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    served = _served(tmp_path_factory, "ta-vcenter")
    client = Client(served)
    try:
        status, rows = client.rest("GET", f"{BASE}/trust-authority-clusters?state=ENABLE")
        assert status == 200 and len(rows) == 1
        base = f"{BASE}/trust-authority-clusters/{rows[0]['cluster']}"

        def read(path: str) -> Any:
            status, found = client.rest("GET", f"{base}/{path}")
            assert status == 200, found
            return found

        assert read("kms/providers")[0]["provider"] == "trusted-provider"
        assert read("attestation/os/esx/base-images")[0]["health"] == "OK"
        keys = read("attestation/tpm2/endorsement-keys")
        certificates = read("attestation/tpm2/ca-certificates")
        assert keys or certificates
        assert read("attestation/tpm2/settings")["health"] == "OK"
        assert read("kms/service-status") == {"health": "OK", "details": []}
        node = next(n for n in served.do(c.GetNodes()).items if n.role.value == "attestation")
        served.do(c.HostCrash((str(node.node),)))
        assert read("attestation/service-status")["health"] == "WARNING"
        gone = client.rest("GET", f"{BASE}/trust-authority-clusters/domain-c1/kms/providers")
        assert gone[0] == 404
    finally:
        client.http.close()
        served.stop()


def test_a_trusted_cluster_and_its_hosts(tmp_path_factory: pytest.TempPathFactory) -> None:
    served = _served(tmp_path_factory, "vcenter")
    client = Client(served)
    try:
        cluster = client.rest("GET", "/vcenter/cluster?names=cluster-a")[1][0]["cluster"]
        path = f"{BASE}/trusted-clusters/{cluster}/services-applied-config"
        assert client.rest("GET", path) == (200, {"health": "OK", "details": []})
        host = client.rest("GET", "/vcenter/host")[1][0]["host"]
        found = client.rest("GET", f"/vcenter/crypto-manager/hosts/{host}/kms/providers")
        assert found[1] == [
            {"provider": "trusted-provider", "type": "TRUST_AUTHORITY", "health": "OK"}
        ]
    finally:
        client.http.close()
        served.stop()
