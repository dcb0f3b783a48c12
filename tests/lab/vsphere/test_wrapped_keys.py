"""Wrapped keys of a vCenter 9.0, as pyVmomi's clients of 9.0 and of 8.0 see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vim, vmodl

from lab.schema import commands as c
from protocol.authorization import ADMINISTRATOR
from tests.lab.vsphere.conftest import PASSWORD, Served
from tests.lab.vsphere.test_vijson import Client

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere-9")]
ENC = vim.encryption
NEW, OLD = "vim25/9.0.0.0", "vim25/8.0.3.0"
RAW, WRAPPED = "rawKey", "wrappedKey"
AVAILABLE, BY_VMS, BY_HOSTS = 1, 2, 4
LAB = """
apiVersion: keystead/v1
kind: Lab
name: wrapped
vcenters: [{name: vcenter, version: "9.0"}]
kms: [{name: kms}]
providers: [{name: plain, servers: [kms], default: true}]
clusters: [{name: cluster-a, hosts: {count: 1}, vms: {count: 1, provider: plain}}]
"""


@pytest.fixture(scope="module")
def lab9(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A lab whose vCenter is of 9.0; each test makes its own providers."""
    folder = tmp_path_factory.mktemp("vsphere-9")
    (folder / "lab.yaml").write_text(LAB)
    made = Served(folder, topology=str(folder / "lab.yaml"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def manager(lab9: Served) -> Iterator[Any]:
    """``CryptoManagerKmip`` of a client of 9.0."""
    with lab9.session(release=NEW) as si:
        yield si.content.cryptoManager


def _by_id(key: str) -> Any:
    return ENC.KmipServerSpec.WrappingKeyIdKeySpec(keyId=key)


def _by_days(days: int | None = None) -> Any:
    return ENC.KmipServerSpec.WrappingRotationIntervalKeySpec(rotationInterval=days)


def _spec(provider: str, key_type: str | None = None, spec: Any = None, server: str = "kms") -> Any:
    info = ENC.KmipServerInfo(name=server, address="kms", port=5696)
    return ENC.KmipServerSpec(
        clusterId=ENC.KeyProviderId(id=provider), info=info, defaultKeyType=key_type, keySpec=spec
    )


def _provider(manager: Any, name: str) -> Any:
    return next(one for one in manager.ListKmipServers() if one.clusterId.id == name)


def _generate(manager: Any, provider: str, key_type: str | None = None) -> Any:
    spec = ENC.CryptoManagerKmip.GenerateKeySpec(keyType=key_type) if key_type else None
    return manager.GenerateKey(ENC.KeyProviderId(id=provider), None, spec)


def _status(manager: Any, key: Any, bits: int = AVAILABLE) -> Any:
    (found,) = manager.QueryCryptoKeyStatus([key], bits)
    return found


def test_a_provider_reports_its_key_type_and_its_wrapping_key(manager: Any) -> None:
    plain = _provider(manager, "plain")
    assert (plain.defaultKeyType, plain.keyInfo) == (RAW, None)
    manager.RegisterKmipServer(_spec("days", WRAPPED, _by_days(90)))
    before = _provider(manager, "days")
    assert before.defaultKeyType == WRAPPED
    assert isinstance(before.keyInfo, ENC.KmipClusterInfo.WrappingRotationIntervalKeyInfo)
    assert (before.keyInfo.rotationInterval, before.keyInfo.keyId) == (90, None)
    made = _generate(manager, "days")
    assert made.success
    info = _provider(manager, "days").keyInfo
    assert info.keyId and info.lastRotation is None
    assert made.keyId.keyId.startswith(f"wrapped:{info.keyId}:")
    (listed,) = [
        one for one in manager.ListKmsClusters(True, None, None) if one.clusterId.id == "days"
    ]
    assert listed.keyInfo.keyId == info.keyId


def test_a_wrapping_key_is_named_by_its_id(manager: Any) -> None:
    wrapping = _generate(manager, "plain").keyId.keyId
    manager.RegisterKmipServer(_spec("named", WRAPPED, _by_id(wrapping)))
    info = _provider(manager, "named").keyInfo
    assert isinstance(info, ENC.KmipClusterInfo.WrappingKeyIdKeyInfo)
    assert info.keyId == wrapping and info.configuredTime is not None
    made = _generate(manager, "named")
    assert made.success and made.keyId.keyId.startswith(f"wrapped:{wrapping}:")
    assert isinstance(
        _status(manager, made.keyId).keyInfo,
        ENC.CryptoManagerKmip.CryptoKeyStatus.WrappingKeyIdKeyInfo,
    )


def test_an_update_changes_what_new_keys_are_and_an_empty_one_does_not(manager: Any) -> None:
    manager.RegisterKmipServer(_spec("changed"))
    assert _provider(manager, "changed").defaultKeyType == RAW
    manager.UpdateKmipServer(_spec("changed", WRAPPED, _by_days()))
    assert _provider(manager, "changed").defaultKeyType == WRAPPED
    assert _provider(manager, "changed").keyInfo.rotationInterval is None
    manager.UpdateKmipServer(_spec("changed"))
    manager.RegisterKmipServer(_spec("changed", server="second"))
    assert _provider(manager, "changed").defaultKeyType == WRAPPED
    manager.UpdateKmipServer(_spec("changed", RAW))
    assert _provider(manager, "changed").defaultKeyType == RAW
    assert not _generate(manager, "changed").keyId.keyId.startswith("wrapped:")


def test_a_key_of_either_type_can_be_asked_for(manager: Any) -> None:
    manager.RegisterKmipServer(_spec("both", WRAPPED, _by_days(30)))
    raw, wrapped = (_generate(manager, "both", one).keyId for one in (RAW, WRAPPED))
    assert wrapped.keyId.startswith("wrapped:") and not raw.keyId.startswith("wrapped:")
    assert _status(manager, raw).keyInfo is None
    info = _status(manager, wrapped).keyInfo
    assert isinstance(info, ENC.CryptoManagerKmip.CryptoKeyStatus.WrappingRotationIntervalKeyInfo)
    assert info.keyId == _provider(manager, "both").keyInfo.keyId
    assert info.createTime is not None and info.rotateTime is None
    refused = _generate(manager, "plain", WRAPPED)
    assert not refused.success and "wrapping key" in refused.reason


def test_the_status_of_a_key_names_what_is_wrong_with_its_wrapping_key(
    lab9: Served, manager: Any
) -> None:
    manager.RegisterKmipServer(_spec("lost", WRAPPED, _by_days(90)))
    key = _generate(manager, "lost").keyId
    wrapping = _provider(manager, "lost").keyInfo.keyId
    assert _status(manager, key).keyAvailable
    lab9.do(c.KmsKeyRevoke(wrapping))
    found = _status(manager, key)
    assert (found.keyAvailable, found.reason) == (False, "WrappingKeyNotActiveOrEnabled")
    lab9.do(c.KmsKeyDestroy(wrapping))
    found = _status(manager, key)
    assert (found.keyAvailable, found.reason) == (False, "WrappingKeyMissingInKMS")
    assert found.keyInfo.keyId == wrapping
    refused = _generate(manager, "lost")
    assert not refused.success and wrapping in refused.reason


@pytest.mark.parametrize(
    ("key_type", "spec", "text"),
    [
        ("asymmetric", None, "rawKey or wrappedKey"),
        (None, _by_days(90), "needs a defaultKeyType"),
        (WRAPPED, _by_days(29), "30 to 3650 days"),
        (WRAPPED, _by_id(""), "empty"),
        (WRAPPED, ENC.KmipServerSpec.KeySpec(), "rotation interval"),
    ],
)
def test_a_specification_that_no_provider_can_have(
    manager: Any, key_type: str | None, spec: Any, text: str
) -> None:
    with pytest.raises(vmodl.fault.InvalidArgument) as refused:
        manager.RegisterKmipServer(_spec("wrong", key_type, spec))
    assert text in refused.value.msg
    assert all(one.clusterId.id != "wrong" for one in manager.ListKmipServers())
    with pytest.raises(vmodl.fault.InvalidArgument):
        _generate(manager, "plain", "asymmetric")


def test_a_client_of_8_does_not_get_what_came_with_9(lab9: Served, manager: Any) -> None:
    manager.RegisterKmipServer(_spec("seen", WRAPPED, _by_days(90)))
    key = _generate(manager, "seen").keyId
    with lab9.session(release=OLD) as si:
        old = si.content.cryptoManager
        provider = _provider(old, "seen")
        assert (provider.defaultKeyType, provider.keyInfo) == (None, None)
        found = _status(old, key)
        assert found.keyAvailable and found.keyInfo is None
    for version, shown in (("9.0.0.0", True), ("8.0.3.0", False)):
        client = Client(lab9, version)
        client.call(
            "/SessionManager/SessionManager/Login", userName=ADMINISTRATOR, password=PASSWORD
        )
        rows = client.get("/CryptoManagerKmip/CryptoManager/kmipServers")
        (row,) = [one for one in rows if one["clusterId"]["id"] == "seen"]
        client.http.close()
        assert ("defaultKeyType" in row, "keyInfo" in row) == (shown, shown)
