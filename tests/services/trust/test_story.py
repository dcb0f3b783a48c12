"""The whole way of a trusted host: attested, safe, encrypting, booting without its vCenter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.errors import (
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidState,
    KeyProviderUnreachable,
    NotAvailable,
    ProductError,
    SaveFailed,
)
from protocol.messages.agent import Firmware, TpmBackend
from protocol.messages.host.crypto import (
    AttestHost,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    DeleteTrustedConfiguration,
    ExportTpmEndorsement,
    QueryTrustedConfiguration,
    SetTrustedConfiguration,
)
from protocol.messages.host.vms import (
    HostCreateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
    ReconfigureVm,
)
from protocol.messages.kms.keys import Destroy, Revoke
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, VmName
from protocol.trust import HostTrustReport, ServiceRecord, TrustAttestationStatus
from tests.services.esxi.rig import VCENTER, VM, A, B
from tests.services.esxi.test_native import push
from tests.services.trust.rig import AS1, AS2, BACKENDS, GROUP, KMS, KPS1, KPS2, TRUSTED, TrustRig

ALL = (AS1, AS2, KPS1, KPS2)


@pytest.mark.parametrize("tpm", BACKENDS)
def test_a_trusted_host_attests_when_it_first_needs_a_key(rig: TrustRig, tpm: TpmBackend) -> None:
    rig.authority()
    rig.trusted_host(tpm=tpm)
    assert [r.status for r in _reports(rig)] == [TrustAttestationStatus.UNKNOWN] * 2
    rig.make_safe_trusted()
    first, second = _reports(rig)
    assert (first.service, first.status) == (AS1, TrustAttestationStatus.ATTESTED)
    assert first.attested_until == pytest.approx((first.attested_at or 0) + 28_800)
    assert second.status is TrustAttestationStatus.UNKNOWN
    key = rig.trusted_vm()
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert len(str(key)) < 255
    assert [r.service for r in _reports(rig) if r.attested_at] == [AS1]
    assert len(rig.kinds("attestation.passed", AS1)) == 1  # a token serves more than one key


@pytest.mark.parametrize("way", ["stop", "power_loss"])
@pytest.mark.parametrize("tpm", BACKENDS)
def test_without_its_vcenter_a_host_boots_safe_and_starts_its_vms(
    rig: TrustRig, way: str, tpm: TpmBackend
) -> None:
    rig.authority()
    rig.trusted_host(tpm=tpm)
    rig.make_safe_trusted()
    rig.trusted_vm()
    rig.power_off(VCENTER)
    rig.reboot(A, way)
    rig.sleep(30)
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert str(rig.vm().power) == "poweredOn"
    assert len(rig.kinds("attestation.passed", AS1)) == 2  # the token did not outlive the boot


def test_any_attested_host_unwraps_for_itself(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host(A)
    rig.trusted_host(B)
    host_key = rig.make_safe_trusted(A)
    rig.make_safe_trusted(B, host_key.key_id)
    assert rig.summary(B).crypto_key_id == host_key
    key = rig.trusted_vm(on=False)
    rig.command(HostUnregisterVm(vm=VM), A)
    assert key not in rig.host(B).keys
    rig.command(HostRegisterVm(vm=VM), B)
    rig.command(HostPowerOnVm(vm=VM), B)
    assert key in rig.host(B).keys


def test_a_vm_whose_key_nobody_asked_for_is_not_locked(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    key = rig.trusted_vm(on=False)
    rig.reboot()
    assert key not in rig.host().keys
    assert rig.vm().missing == ()


def test_without_any_service_a_rebooted_host_is_prepared_and_its_vm_locked(rig: TrustRig) -> None:
    """The host regains host key and keys by itself when the services are back."""
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    key = rig.trusted_vm()
    rig.stop_services(*ALL)
    rig.reboot()
    rig.sleep(90)
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
    assert rig.vm().missing == (key,)
    rig.connect()
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)
    rig.start_services(*ALL)
    rig.sleep(120)
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert rig.vm().missing == ()
    rig.connect()
    rig.command(HostPowerOnVm(vm=VM))


def test_one_pair_of_services_is_enough(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    rig.trusted_vm()
    rig.stop_services(AS1, KPS1)
    rig.reboot()
    rig.sleep(30)
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert str(rig.vm().power) == "poweredOn"
    first, second = _reports(rig)
    assert (first.status, second.status) == (
        TrustAttestationStatus.UNKNOWN,
        TrustAttestationStatus.ATTESTED,
    )


def test_persisted_keys_need_no_service_while_none_can_be_reached(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    rig.esxcli("system security keypersistence enable")
    rig.make_safe_trusted()
    rig.trusted_vm()
    rig.stop_services(*ALL, KMS)
    rig.reboot(A, "power_loss")
    rig.sleep(60)
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert str(rig.vm().power) == "poweredOn"


@pytest.mark.parametrize(
    ("overrides", "runs"), [("always", True), ("unreachable_only", False), ("never", False)]
)
def test_a_refused_host_with_persisted_keys_powers_nothing_on(
    rig: TrustRig, overrides: str, runs: bool
) -> None:
    """Refused is not locked: the key is there (R54)."""
    rig.authority()
    rig.trusted_host(knobs={"persist_overrides_attestation": overrides})
    rig.esxcli("system security keypersistence enable")
    rig.make_safe_trusted()
    rig.trusted_vm(on=False)
    rig.command(HostPowerOffVm(vm=VM))
    rig.power_off()
    rig.set_firmware(build="24280767")
    rig.power_on()
    rig.connect()
    assert rig.summary().crypto_state is HostCryptoState.SAFE  # its key is persisted
    if runs:
        rig.command(HostPowerOnVm(vm=VM))
        return
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, InvalidState) and "not attested (refused)" in str(error)
    assert rig.vm().missing == ()
    rig.import_image()
    rig.configure_services()
    rig.command(HostPowerOnVm(vm=VM))


@pytest.mark.parametrize(
    ("overrides", "runs"), [("always", True), ("unreachable_only", True), ("never", False)]
)
def test_after_its_token_a_host_that_reaches_no_service(
    rig: TrustRig, overrides: str, runs: bool
) -> None:
    rig.authority(knobs={"token_lifetime_s": 600})
    rig.trusted_host(knobs={"persist_overrides_attestation": overrides})
    rig.make_safe_trusted()
    rig.trusted_vm()
    rig.command(HostPowerOffVm(vm=VM))
    rig.stop_services(*ALL)
    rig.command(HostPowerOnVm(vm=VM))  # the token lives
    rig.command(HostPowerOffVm(vm=VM))
    rig.sleep(700)
    rig.connect()
    if runs:
        rig.command(HostPowerOnVm(vm=VM))
    else:
        error = rig.refused_command(HostPowerOnVm(vm=VM))
        assert isinstance(error, InvalidState) and "(unreachable)" in str(error)


@pytest.mark.parametrize(("renew", "has_token"), [("on_demand", False), ("ahead", True)])
def test_when_a_token_is_renewed(rig: TrustRig, renew: str, has_token: bool) -> None:
    """C12: an outage after the first token's end finds a younger one, or none."""
    rig.authority(knobs={"token_lifetime_s": 600})
    rig.trusted_host(knobs={"token_renew": renew})
    rig.make_safe_trusted()
    rig.sleep(1000)
    rig.stop_services(AS1, AS2)
    held = rig.host().trust.find_token(GROUP, rig.loop.time())
    assert (held is not None) is has_token
    passed = len(rig.kinds("attestation.passed", AS1))
    assert passed == (2 if has_token else 1)
    rig.sleep(700)
    assert rig.host().trust.find_token(GROUP, rig.loop.time()) is None
    assert rig.host().trust.renewing == set()
    rig.start_services(AS1, AS2)
    rig.trusted_vm()  # a key is needed, and the host attests as at first
    rig.sleep(1000)
    held = rig.host().trust.find_token(GROUP, rig.loop.time())
    assert (held is not None) is has_token


@pytest.mark.parametrize(("blocks", "starts"), [("encrypted", True), ("all", False)])
def test_which_vms_an_unattested_host_may_not_start(
    rig: TrustRig, blocks: str, starts: bool
) -> None:
    rig.authority()
    rig.trusted_host(knobs={"unattested_blocks": blocks})
    rig.configure_services(base_images=())
    plain = VmName("plain")
    rig.command(HostCreateVm(vm=plain, blocks=8))  # an unencrypted VM may be added (ATT-06)
    if starts:
        rig.command(HostPowerOnVm(vm=plain))
    else:
        assert isinstance(rig.refused_command(HostPowerOnVm(vm=plain)), InvalidState)


def test_running_vms_of_a_host_that_is_refused_stay_and_its_token_is_void(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    rig.trusted_vm()
    rig.configure_services(base_images=())
    reports = rig.command(AttestHost()).reports
    assert {r.status for r in reports} == {TrustAttestationStatus.NOT_ATTESTED}
    assert rig.host().trust.find_token(GROUP, rig.loop.time()) is None
    assert str(rig.vm().power) == "poweredOn"


def test_a_destroyed_primary_key_takes_what_is_not_cached(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    key = rig.trusted_vm()
    rig.console(Revoke(key_id=rig.primary), KMS)
    rig.console(Destroy(key_id=rig.primary), KMS)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))  # from the cache
    rig.reboot()
    rig.sleep(90)
    rig.connect()
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)


@pytest.mark.parametrize(("kept", "safe"), [(False, False), (True, True)])
def test_the_key_server_is_asked_each_time_unless_the_knob_says_otherwise(
    rig: TrustRig, kept: bool, safe: bool
) -> None:
    rig.authority(knobs={"kps_primary_key_cache": kept})
    rig.trusted_host()
    rig.make_safe_trusted()
    rig.power_off(KMS)
    rig.reboot()
    state = rig.summary().crypto_state
    assert (state is HostCryptoState.SAFE) is safe


@pytest.mark.parametrize("way", ["stop", "power_loss"])
def test_silent_key_provider_services_are_not_the_silence_of_the_host(
    rig: TrustRig, way: str
) -> None:
    """Who commands the host must not take it for unreachable: nothing happened, and it says so."""
    rig.authority()
    rig.trusted_host()
    rig.command(AttestHost())
    rig.command(CryptoManagerHostPrepare())
    for service in (KPS1, KPS2):
        rig.power_off(service, way)
    error = rig.refused_command(CryptoManagerHostEnable(key=CryptoKeyId(KeyId(""), TRUSTED)))
    assert isinstance(error, KeyProviderUnreachable) and error.definite
    assert KPS2 in str(error)


def test_a_host_asks_nobody_for_a_provider_that_it_is_not_configured_for(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    key = rig.trusted_vm(on=False)
    rig.apply(providers=())
    rig.reboot()
    rig.connect()
    asked = len(rig.kinds("keyprovider.decrypted", KPS1))
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)
    assert len(rig.kinds("keyprovider.decrypted", KPS1)) == asked


def test_a_service_that_is_not_the_one_of_the_record_is_not_believed(rig: TrustRig) -> None:
    """Its token is signed with another certificate than the applied configuration names."""
    rig.authority()
    rig.trusted_host()
    first, second = rig.trusted_configuration().attestation_services
    swapped = msgspec.structs.replace(first, trusted_ca=second.trusted_ca)
    rig.apply(attestation_services=(swapped,))
    [report] = rig.command(AttestHost()).reports
    assert report.status is TrustAttestationStatus.UNKNOWN
    assert "not the service it should be" in report.messages[0]
    assert rig.host().trust.find_token(GROUP, rig.loop.time()) is None


def test_a_token_of_another_group_is_not_asked_with(rig: TrustRig) -> None:
    """TA-08: no Attestation Service of the Key Provider Service's group, and no key."""
    rig.authority()
    rig.trusted_host()
    services = rig.trusted_configuration().key_provider_services
    others = tuple(msgspec.structs.replace(one, group="another") for one in services)
    rig.apply(key_provider_services=others)
    rig.command(AttestHost())
    rig.command(CryptoManagerHostPrepare())
    error = rig.refused_command(CryptoManagerHostEnable(key=CryptoKeyId(KeyId(""), TRUSTED)))
    assert isinstance(error, InvalidState)
    assert rig.kinds("keyprovider.refused", KPS1) == []


def test_what_the_disk_refuses_is_not_applied(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    before = rig.console(QueryTrustedConfiguration()).configuration
    after = rig.trusted_configuration(providers=())
    rig.store().fail = True
    error = rig.refused_command(SetTrustedConfiguration(configuration=after))
    assert isinstance(error, SaveFailed)
    assert rig.console(QueryTrustedConfiguration()).configuration == before
    rig.store().fail = False
    rig.command(DeleteTrustedConfiguration())
    assert rig.console(QueryTrustedConfiguration()).configuration is None
    rig.reboot(A, "power_loss")
    assert rig.console(QueryTrustedConfiguration()).configuration is None


@pytest.mark.parametrize(
    "changes",
    [
        {"attestation_services": (ServiceRecord(node=AS1, trusted_ca=(b"x",), group=GROUP),)},
        {"attestation_services": (ServiceRecord(node=AS1, trusted_ca=(), group=GROUP),)},
        {"voucher": b"x" * 2049},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(
    rig: TrustRig, changes: dict[str, Any]
) -> None:
    rig.authority()
    rig.trusted_host()
    made = rig.trusted_configuration(**changes)
    error = rig.refused_command(SetTrustedConfiguration(configuration=made))
    assert isinstance(error, InvalidArgument)


def test_a_host_without_a_tpm_is_no_trusted_host(rig: TrustRig) -> None:
    """TA-03."""
    rig.authority()
    rig.up(A, tpm=TpmBackend.NONE)
    configuration = rig.trusted_configuration()
    error = rig.refused_command(SetTrustedConfiguration(configuration=configuration))
    assert isinstance(error, NotAvailable)
    assert isinstance(rig.refused_door(ExportTpmEndorsement()), NotAvailable)


def test_a_vm_is_encrypted_under_a_key_that_the_host_has_made(rig: TrustRig) -> None:
    """KEY-02: the key id is the ciphertext; the same command again changes nothing."""
    rig.authority()
    rig.trusted_host()
    rig.make_safe_trusted()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(ReconfigureVm(vm=VM, provider=TRUSTED))
    [key] = rig.vm().keys
    rig.command(ReconfigureVm(vm=VM, provider=TRUSTED))
    assert rig.vm().keys == (key,)
    assert len(rig.kinds("keyprovider.generated", KPS1)) == 2  # host key and this one
    rig.stop_services(*ALL)
    other = VmName("vm-02")
    error = rig.refused_command(HostCreateVm(vm=other, blocks=8, provider=TRUSTED))
    assert isinstance(error, ProductError)
    assert other not in rig.host().vms


def test_the_applied_configuration_outlives_a_power_loss(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host()
    before = rig.console(QueryTrustedConfiguration()).configuration
    rig.reboot(A, "power_loss")
    assert rig.console(QueryTrustedConfiguration()).configuration == before is not None


def _reports(rig: TrustRig) -> tuple[HostTrustReport, ...]:
    return rig.console(QueryTrustedConfiguration()).reports


def test_keys_of_a_service_are_not_stored_while_no_tpm_seals_the_configuration(
    rig: TrustRig,
) -> None:
    """KP-06: persistence was enabled while only a native provider existed and the TPM was off."""
    rig.authority()
    rig.up(firmware=Firmware(secure_boot=True, tpm_enabled=False))
    rig.command(push())
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    rig.set_firmware(tpm_enabled=True)
    rig.reboot()
    rig.connect()
    rig.register()
    rig.configure_services()
    rig.apply()
    rig.make_safe_trusted()
    rig.trusted_vm(on=False)
    summary = rig.summary()
    assert (summary.key_persistence, summary.stored_keys) == (True, 0)
    rig.stop_services(*ALL, KMS)
    rig.reboot(A, "power_loss")
    rig.sleep(60)
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
