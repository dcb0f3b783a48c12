"""Every encryption health issue has a cause, and nothing is told without one (VSAN-14). Pure."""

from __future__ import annotations

import msgspec
import pytest

from protocol.messages.host.vsan import VsanHostHealth, VsanServerHealth
from protocol.terms import CryptoKeyId, KeyId, ManagementType, NodeName, ProviderId
from protocol.vsan import VsanEncryption, VsanHealthState, VsanKeyServer
from services.vcenter.vsan.health import host_issues

HOST, PROVIDER = NodeName("esxi-001"), ProviderId("kms-provider")
KEK, OTHER = CryptoKeyId(KeyId("kek"), PROVIDER), CryptoKeyId(KeyId("other"), PROVIDER)
WISHED = VsanEncryption(
    encryption_enabled=True,
    kms_provider_id=PROVIDER,
    management_type=ManagementType.VCENTER,
    servers=(VsanKeyServer(name="kms", node=NodeName("kms")),),
    kek_id=KEK,
    host_key_id=CryptoKeyId(KeyId("host"), PROVIDER),
    dek_generation_id=2,
)


def told(encryption: VsanEncryption, *, connected: bool = True) -> VsanHostHealth:
    servers = (VsanServerHealth(name="kms", connected=connected),)
    return VsanHostHealth(encryption=encryption, servers=servers)


@pytest.mark.parametrize(
    ("changes", "issue"),
    [
        ({"servers": ()}, "kmsinfoinconsistent"),
        ({"kms_provider_id": ProviderId("second")}, "kmsinfoinconsistent"),
        ({"kek_id": OTHER}, "keyencryptionkeyinconsistent"),
        ({"host_key_id": OTHER}, "hostkeyinconsistent"),
        ({"dek_generation_id": 1}, "dataencryptionkeyinconsistent"),
        ({"erase_disks_before_use": True}, "erasedisksbeforeuseinconsistent"),
        ({"encryption_enabled": False}, "disabledwhenclusterenabled"),
    ],
)
def test_a_host_with_another_configuration(changes: dict[str, object], issue: str) -> None:
    found = host_issues(HOST, told(msgspec.structs.replace(WISHED, **changes)), WISHED)
    assert [i.value for i in found.issues] == [issue]
    assert found.health is VsanHealthState.RED


def test_a_host_that_is_encrypted_in_a_cluster_that_is_not() -> None:
    clear = msgspec.structs.replace(WISHED, encryption_enabled=False)
    found = host_issues(HOST, told(WISHED), clear)
    assert [i.value for i in found.issues] == ["enabledwhenclusterdisabled"]


def test_a_host_as_it_should_be_and_one_that_is_silent() -> None:
    well = host_issues(HOST, told(WISHED), WISHED)
    assert (well.health, well.issues, well.kms_connected) == (VsanHealthState.GREEN, (), True)
    cut = host_issues(HOST, told(WISHED, connected=False), WISHED)
    assert (cut.health, cut.issues, cut.kms_connected) == (VsanHealthState.RED, (), False)
    assert host_issues(HOST, None, WISHED).health is VsanHealthState.UNKNOWN
