"""What an Attestation Service refuses, with all that is wrong told; on the TPM's own word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from protocol.crypto.tokens import (
    AUDIENCE,
    REPORTING_AUDIENCE,
    AttestationClaims,
    Signer,
    new_certificate,
)
from protocol.crypto.tokens import (
    verify_token as opened_token,
)
from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidName,
    InvalidState,
    NoPermission,
    ProductError,
)
from protocol.messages.agent import Firmware, FirmwareEvent, TpmBackend
from protocol.messages.attestation import (
    QueryAttestationConfiguration,
    QueryAttestationService,
    SetAttestationConfiguration,
)
from protocol.messages.host.crypto import AttestHost, ExportTpmEndorsement
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.tpm.event_log import encode_log, parse_log
from protocol.tpm.public import srk_public
from protocol.tpm.structures import EkKind, EventType, MeasuredEvent, PcrSelection
from protocol.trust import (
    BaseImage,
    TokenType,
    TpmCaCertificate,
    TpmIdentity,
    TpmSettings,
    TrustAttestationStatus,
    TrustedEndorsementKey,
)
from protocol.trust import (
    FindingCode as Code,
)
from services.runtime.tpm.device import TpmDevice
from services.runtime.tpm.maker import TpmMaker
from tests.services.esxi.rig import A, B
from tests.services.trust import prover
from tests.services.trust.rig import AS1, AS2, BACKENDS, GROUP, ISSUER, KPS1, TrustRig

TPMS = pytest.mark.parametrize("tpm", BACKENDS)


@pytest.fixture
def up(rig: TrustRig) -> TrustRig:
    rig.authority()
    rig.trusted_host()
    return rig


@TPMS
def test_a_good_host_gets_two_documents(rig: TrustRig, tpm: TpmBackend) -> None:
    rig.authority()
    rig.trusted_host(tpm=tpm)
    report = prover.attest(rig)
    assert prover.codes(report) == []
    certificate = rig.ask(AS1, QueryAttestationService()).certificate
    auth, reporting = (
        opened_token(document.token, [certificate], AttestationClaims)
        for document in report.documents
    )
    assert (auth.iss, auth.sub, auth.group, auth.aud) == (AS1, A, GROUP, AUDIENCE)
    assert (reporting.typ, reporting.aud) == (TokenType.REPORTING_JWT, REPORTING_AUDIENCE)
    assert (auth.exp - auth.iat, auth.secure_boot) == (28_800, True)
    assert auth.base_image == report.base_image == next(iter(rig.images))
    state = rig.ask(AS1, QueryAttestationConfiguration())
    assert [use.last_attested_time for use in state.images] == [report.attested_at]


@TPMS
def test_a_tpm_that_is_not_registered_is_refused(rig: TrustRig, tpm: TpmBackend) -> None:
    """Also when the host names an endorsement key that is: its TPM does not open the credential."""
    rig.authority()
    rig.trusted_host(A, tpm=tpm)
    rig.up(B, tpm=tpm, firmware=Firmware(secure_boot=True))
    assert prover.codes(prover.attest(rig, B)) == [Code.ENDORSEMENT_KEY]
    ek, _ = rig.run(prover.tpm(rig, A).ek(EkKind.ECC_P256))
    stolen = prover.attest(rig, B, first={"identity": TpmIdentity(public_area=ek)})
    assert prover.codes(stolen) == [Code.ATTESTATION_KEY]


@TPMS
def test_a_new_tpm_is_refused_until_it_is_registered(rig: TrustRig, tpm: TpmBackend) -> None:
    """ATT-08."""
    rig.authority()
    rig.trusted_host(tpm=tpm)
    assert prover.attest(rig).attested
    replaced(rig, lambda device: device.swap())
    assert prover.codes(prover.attest(rig)) == [Code.ENDORSEMENT_KEY]
    rig.register()
    rig.configure_services()
    assert prover.attest(rig).attested


@TPMS
def test_a_certificate_of_an_imported_maker_is_enough(rig: TrustRig, tpm: TpmBackend) -> None:
    """ATT-08: so is that of another TPM of the same maker, and no certificate of another one."""
    rig.authority()
    rig.trusted_host(tpm=tpm)
    found = rig.console(ExportTpmEndorsement())
    maker = TpmCaCertificate(name="maker", chain=found.ca_chain)
    by_certificate = {"endorsement_keys": (), "settings": TpmSettings()}
    rig.configure_services(**by_certificate, ca_certificates=(maker,))
    shown = {"identity": TpmIdentity(certificate=found.certificate)}
    assert prover.attest(rig, first=shown).attested
    assert prover.codes(prover.attest(rig)) == [Code.CERTIFICATE]  # the bare key
    [report, _] = rig.command(AttestHost()).reports
    assert report.status is TrustAttestationStatus.ATTESTED  # the host shows its certificate

    replaced(rig, lambda device: device.swap())
    assert prover.codes(prover.attest(rig, first=shown)) == [Code.ATTESTATION_KEY]
    fresh = rig.console(ExportTpmEndorsement()).certificate
    again = {"identity": TpmIdentity(certificate=fresh)}
    assert prover.attest(rig, first=again).attested

    other = TpmMaker(KeyMaterial(bytes(32)))
    foreign = other.certificate(rig.console(ExportTpmEndorsement()).public_area)
    forged = prover.attest(rig, first={"identity": TpmIdentity(certificate=foreign)})
    assert prover.codes(forged) == [Code.CERTIFICATE]
    root_only = msgspec.structs.replace(maker, chain=maker.chain[:1])
    rig.configure_services(**by_certificate, ca_certificates=(root_only,))
    assert prover.codes(prover.attest(rig, first=again)) == [Code.CERTIFICATE]
    rig.configure_services(**by_certificate)
    assert prover.codes(prover.attest(rig, first=again)) == [Code.CERTIFICATE]


def test_an_imported_certificate_must_chain_and_a_chain_must_be_ordered(up: TrustRig) -> None:
    found = up.console(ExportTpmEndorsement())
    registered = TrustedEndorsementKey(name=A, certificate=found.certificate)
    maker = TpmCaCertificate(name="maker", chain=found.ca_chain)

    def configured(**changes: Any) -> SetAttestationConfiguration:
        fields = {"endorsement_keys": (registered,), "settings": TpmSettings()}
        made = up.attestation_configuration(**{**fields, **changes})
        return SetAttestationConfiguration(configuration=made)

    assert isinstance(up.refused(AS1, configured()), InvalidArgument)
    up.ask(AS1, configured(ca_certificates=(maker,)))
    for chain in ((), found.ca_chain[::-1], found.ca_chain[1:], (b"x",), (found.certificate,)):
        wrong = TpmCaCertificate(name="maker", chain=chain)
        assert isinstance(up.refused(AS1, configured(ca_certificates=(wrong,))), InvalidArgument)


def test_an_attestation_key_that_signs_anything_is_none(up: TrustRig) -> None:
    ek, _ = up.run(prover.tpm(up).ek(EkKind.ECC_P256))
    for ak in (ek, srk_public()):
        refused = up.refused(AS1, prover.begin(up, ak=ak), A)
        assert isinstance(refused, InvalidArgument) and str(refused).startswith("ak:")


def test_the_identity_is_exactly_one(up: TrustRig) -> None:
    ak, _ = up.run(prover.tpm(up).ak())
    for identity in (
        TpmIdentity(),
        TpmIdentity(public_area=ak, certificate=b"x"),
        TpmIdentity(public_area=ak),
        TpmIdentity(certificate=b"no certificate"),
    ):
        refused = up.refused(AS1, prover.begin(up, identity=identity), A)
        assert isinstance(refused, InvalidArgument) and str(refused).startswith("identity:")


@TPMS
def test_a_quote_of_another_challenge_or_boot_is_refused(rig: TrustRig, tpm: TpmBackend) -> None:
    rig.authority()
    rig.trusted_host(tpm=tpm)
    asked = prover.begun(rig)
    old = prover.quote(rig, asked.nonce, selection=asked.selection)
    log = rig.host().event_log
    assert prover.codes(prover.attest(rig, quote=old)) == [Code.QUOTE]
    rig.reboot()
    assert prover.codes(prover.attest(rig, quote=old, event_log=log)) == [Code.QUOTE]


def test_only_the_registers_that_were_asked_count(up: TrustRig) -> None:
    asked = prover.begun(up)
    few = prover.quote(up, asked.nonce, selection=PcrSelection((0, 7)))
    assert Code.QUOTE in prover.codes(up.ask(AS1, prover.finish(up, asked, quote=few), A))


def test_a_forged_quote_is_refused(up: TrustRig) -> None:
    asked = prover.begun(up)
    quote = prover.quote(up, asked.nonce, selection=asked.selection)
    attest = quote.attest[:-1] + bytes([quote.attest[-1] ^ 1])
    forged = msgspec.structs.replace(quote, attest=attest)
    assert Code.QUOTE in prover.codes(up.ask(AS1, prover.finish(up, asked, quote=forged), A))


def test_a_context_serves_once_and_one_host_and_one_life_and_a_while(up: TrustRig) -> None:
    up.up(B, firmware=Firmware(secure_boot=True))
    asked = prover.begun(up)
    message = prover.finish(up, asked)
    assert isinstance(up.refused(AS1, message, B), InvalidState)
    assert isinstance(up.refused(AS2, message, A), InvalidState)
    assert up.ask(AS1, message, A).attested
    refused = up.refused(AS1, message, A)
    assert isinstance(refused, InvalidState) and "finished already" in str(refused)

    late = prover.finish(up, prover.begun(up))
    up.sleep(61)
    assert "expired" in str(up.refused(AS1, late, A))

    before = prover.finish(up, prover.begun(up))
    up.power_off(AS1, "crash")
    up.power_on(AS1)
    assert isinstance(up.refused(AS1, before, A), InvalidState)
    for context in (b"", b"x" * 12, before.context[:-1], bytes(200), bytes(5000)):
        changed = msgspec.structs.replace(before, context=context)
        assert isinstance(up.refused(AS1, changed, A), InvalidState)


def test_a_log_that_does_not_lead_to_the_registers_is_refused(up: TrustRig) -> None:
    events = parse_log(up.host().event_log)
    assert prover.codes(prover.attest(up, event_log=encode_log(events[:-1]))) == [Code.EVENT_LOG]
    more = (*events, MeasuredEvent(9, EventType.IPL, b"more", bytes(32)))
    assert prover.codes(prover.attest(up, event_log=encode_log(more))) == [Code.EVENT_LOG]
    for damaged in (b"", up.host().event_log[:-3], b"no log"):
        assert prover.codes(prover.attest(up, event_log=damaged)) == [Code.EVENT_LOG]


@TPMS
def test_a_log_that_lies_in_its_bodies_is_refused(rig: TrustRig, tpm: TpmBackend) -> None:
    """Secure Boot was off; the log has the digests of that, and tells of it as on."""
    rig.authority()
    rig.trusted_host(firmware=Firmware(secure_boot=False), tpm=tpm)
    assert prover.codes(prover.attest(rig)) == [Code.SECURE_BOOT]
    lying = tuple(
        msgspec.structs.replace(event, body=event.body[:-1] + b"\x01")
        if "SecureBoot".encode("utf-16-le") in event.body
        else event
        for event in parse_log(rig.host().event_log)
    )
    found = prover.codes(prover.attest(rig, event_log=encode_log(lying)))
    assert found == [Code.EVENT_BODY, Code.SECURE_BOOT]  # a lie proves nothing of Secure Boot


def test_a_log_without_room_is_refused(up: TrustRig) -> None:
    """ATT-10: whoever says so, or has more entries than fit."""
    told = prover.attest(up, event_log=b"", log_truncated=True)
    assert prover.codes(told) == [Code.EVENT_LOG_OVERFLOW]
    events = parse_log(up.host().event_log)
    padding = [MeasuredEvent(0, EventType.NO_ACTION, b"x", bytes(32))] * 1001
    full = encode_log((*padding, *events))
    assert prover.codes(prover.attest(up, event_log=full)) == [Code.EVENT_LOG_OVERFLOW]


def test_a_host_whose_log_overflows_says_so_and_is_refused(rig: TrustRig) -> None:
    rig.authority()
    flood = tuple(FirmwareEvent(1, int(EventType.EFI_ACTION), b"%d" % n) for n in range(1001))
    rig.trusted_host(firmware=Firmware(secure_boot=True, extra=flood))
    rig.command(AttestHost())
    [first, _] = rig.summary().trusted.reports  # type: ignore[union-attr]
    assert "no room for all entries" in first.messages[0]


def test_a_build_that_is_not_imported_is_refused_until_it_is(up: TrustRig) -> None:
    """ATT-07; firmware version and options are no part of the image."""
    up.power_off()
    up.set_firmware(build="24280767", version="2.0")
    up.power_on(A, some="option")
    assert prover.codes(prover.attest(up)) == [Code.BASE_IMAGE]
    up.import_image()
    up.configure_services()
    assert prover.attest(up).base_image == "8.0U3-24280767"


@pytest.mark.parametrize(
    "extra",
    [
        FirmwareEvent(8, int(EventType.SEPARATOR), bytes(4)),
        FirmwareEvent(4, int(EventType.SEPARATOR), b"a module of a stranger"),
        FirmwareEvent(8, int(EventType.EFI_ACTION), b"a module of a stranger"),
    ],
)
def test_what_is_measured_beside_the_image_is_no_image(rig: TrustRig, extra: FirmwareEvent) -> None:
    rig.authority()
    rig.trusted_host(firmware=Firmware(secure_boot=True, extra=(extra,)))
    assert prover.codes(prover.attest(rig)) == [Code.BASE_IMAGE]


def test_all_findings_are_told_and_not_the_first(rig: TrustRig) -> None:
    rig.authority()
    rig.trusted_host(firmware=Firmware(secure_boot=False))
    rig.configure_services(endorsement_keys=(), base_images=(), principals=())
    report = prover.attest(rig, secret=b"guessed")
    assert prover.codes(report) == [
        Code.ENDORSEMENT_KEY,
        Code.PRINCIPAL,
        Code.ATTESTATION_KEY,
        Code.SECURE_BOOT,
        Code.BASE_IMAGE,
    ]


@TPMS
def test_counters_that_went_back_are_refused_for_good(rig: TrustRig, tpm: TpmBackend) -> None:
    """A rolled-back TPM signs good quotes. What was seen survives the service's power loss."""
    rig.authority()
    rig.trusted_host(tpm=tpm)
    device = rig.world.device(A)
    assert device is not None
    rig.power_off()
    earlier = device.snapshot()
    rig.power_on()
    rig.reboot()
    assert prover.attest(rig).attested
    rig.power_off(AS1, "power_loss")
    rig.power_on(AS1)
    rig.power_off()
    device.restore(earlier)
    rig.power_on()
    assert prover.codes(prover.attest(rig)) == [Code.RESET_COUNTER]
    for _ in range(3):
        rig.reboot()
    assert prover.codes(prover.attest(rig)) == [Code.RESET_COUNTER]  # it stays so
    rig.keys[A] = msgspec.structs.replace(rig.keys[A], name="registered-anew")
    rig.configure_services()
    assert prover.attest(rig).attested


@TPMS
def test_a_cleared_tpm_is_noticed(rig: TrustRig, tpm: TpmBackend) -> None:
    """Its endorsement key is the same; its counters began anew."""
    rig.authority()
    rig.trusted_host(tpm=tpm)
    for _ in range(3):
        rig.reboot()
    assert prover.attest(rig).attested
    replaced(rig, lambda device: device.clear())
    assert prover.codes(prover.attest(rig)) == [Code.RESET_COUNTER]


def test_nobody_vouches_for_a_stranger(up: TrustRig) -> None:
    secret = KeyMaterial(bytes(31) + b"2")
    other = Signer(secret, new_certificate("other sts", secret, bytes(16), 1.0))
    for voucher in (
        b"",
        b"no voucher",
        other.voucher(ISSUER, A, 1.0),
        up.sts.voucher(ISSUER, B, 1.0),
        up.sts.voucher("https://elsewhere", A, 1.0),
        next(iter(prover.attest(up).documents)).token,
    ):
        report = prover.attest(up, first={"voucher": voucher})
        assert prover.codes(report) == [Code.PRINCIPAL]


def test_settings_that_require_nothing_take_any_tpm_and_warn(up: TrustRig) -> None:
    """TA-07."""
    none = TpmSettings(require_endorsement_keys=False, require_certificate_validation=False)
    configuration = up.attestation_configuration(endorsement_keys=(), settings=none)
    configured = up.ask(AS1, SetAttestationConfiguration(configuration=configuration))
    assert len(configured.warnings) == 1
    assert prover.attest(up).attested
    strict = up.attestation_configuration(settings=TpmSettings())
    assert up.ask(AS1, SetAttestationConfiguration(configuration=strict)).warnings == ()
    assert prover.codes(prover.attest(up)) == [Code.CERTIFICATE]


def test_a_configuration_is_durable_when_it_is_answered(up: TrustRig) -> None:
    before = up.ask(AS1, QueryAttestationConfiguration())
    service = up.ask(AS1, QueryAttestationService())
    up.power_off(AS1, "power_loss")
    up.power_on(AS1)
    assert up.ask(AS1, QueryAttestationConfiguration()) == before
    assert up.ask(AS1, QueryAttestationService()) == service
    assert len(before.items) == 4


def test_items_tell_where_two_services_differ(up: TrustRig) -> None:
    one, two = (up.ask(name, QueryAttestationConfiguration()) for name in (AS1, AS2))
    assert one.items == two.items
    changed = up.attestation_configuration(base_images=())
    up.ask(AS2, SetAttestationConfiguration(configuration=changed))
    two = up.ask(AS2, QueryAttestationConfiguration())
    assert {i.kind for i in set(one.items) ^ set(two.items)} == {"baseImage"}


def test_a_configuration_that_makes_no_sense_changes_nothing(up: TrustRig) -> None:
    before = up.ask(AS1, QueryAttestationConfiguration())
    key = up.keys[A]
    image = next(iter(up.images.values()))
    bad: dict[type[ProductError], list[dict[str, Any]]] = {
        AlreadyExists: [
            {"endorsement_keys": (key, key)},
            {"base_images": (image, image)},
            {"principals": (up.principal(), up.principal())},
        ],
        InvalidArgument: [
            {"group": ""},
            {"endorsement_keys": (TrustedEndorsementKey(name="none"),)},
            {"base_images": (BaseImage(version="v", display_name="", measurements=()),)},
            {"principals": (msgspec.structs.replace(up.principal(), certificates=(b"x",)),)},
            {"principals": (msgspec.structs.replace(up.principal(), certificates=()),)},
            {"principals": (msgspec.structs.replace(up.principal(), issuer=""),)},
            {"base_images": (msgspec.structs.replace(image, display_name="\x1b[31m"),)},
        ],
        InvalidName: [
            {"endorsement_keys": (msgspec.structs.replace(key, name=""),)},
            {"endorsement_keys": (msgspec.structs.replace(key, name="a\x1b[31m"),)},
            {"base_images": (msgspec.structs.replace(image, version="../x"),)},
            {"principals": (msgspec.structs.replace(up.principal(), name="a" * 121),)},
        ],
    }
    for kind, all_changes in bad.items():
        for changes in all_changes:
            configuration = up.attestation_configuration(**changes)
            refused = up.refused(AS1, SetAttestationConfiguration(configuration=configuration))
            assert isinstance(refused, kind), changes
    assert up.ask(AS1, QueryAttestationConfiguration()) == before


def test_only_its_vcenter_configures_it(up: TrustRig) -> None:
    message = SetAttestationConfiguration(configuration=up.attestation_configuration())
    for sender in (A, KPS1):
        assert isinstance(up.refused(AS1, message, sender), NoPermission)
        assert isinstance(up.refused(AS1, QueryAttestationService(), sender), NoPermission)


def test_a_service_that_was_never_configured_attests_nobody(rig: TrustRig) -> None:
    rig.authority()
    rig.up(A, firmware=Firmware(secure_boot=True))
    assert isinstance(rig.refused(AS1, prover.begin(rig), A), InvalidState)


def replaced(rig: TrustRig, work: Callable[[TpmDevice], None], node: NodeName = A) -> None:
    """Something was done to the TPM of a host that is off; it boots with its recovery key."""
    device = rig.world.device(node)
    recovery = rig.host(node).archive.now.recovery
    assert device is not None and recovery is not None
    rig.power_off(node)
    work(device)
    rig.power_on(node, encryptionRecoveryKey=recovery.text())
