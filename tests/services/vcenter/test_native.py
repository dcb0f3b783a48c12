"""Native providers in vCenter: made, backed up, exported, imported, told of, kept sealed (NKP)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.crypto.derive import check_value, derive_kek
from protocol.crypto.provider_backup import read_backup
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidState,
    NoPermission,
    NotFound,
)
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    DownloadExport,
    ExportProvider,
    GenerateKey,
    ImportProvider,
    ListKmsClusters,
    OpenTransfer,
    ProviderInfo,
    QueryCryptoKeyStatus,
    RegisterKmsCluster,
    UnregisterKmsCluster,
    UpdateNativeProvider,
)
from protocol.messages.vcenter.vms import CreateVm, EncryptVm
from protocol.secret import KeyMaterial
from protocol.terms import KeyUnavailableReason, ManagementType, ProviderHealth, ProviderId
from services.vcenter.providers.native import (
    NOT_AVAILABLE,
    NOT_BACKED_UP,
    NOT_BACKED_UP_AFTER_UPDATE,
    NOT_ON_ALL_HOSTS,
    TOKEN_LIFETIME_S,
)
from services.vcenter.providers.stored_secrets import SYMKEY
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, VM, A, B, P, Rig

NKP = ProviderId("nkp")
UUID = "0b5a1f5e-6c0e-4e0c-9a43-0d5d3ad1c001"
DAY_S = 86_400


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def create(rig: Rig, **more: object) -> ProviderInfo:
    return rig.do(CreateNativeProvider(provider=NKP, **more)).provider  # type: ignore[arg-type]


def sealed(rig: Rig, **secrets: tuple[str, bytes]) -> dict[str, object]:
    """The fields of a request whose secrets are sealed: name -> (purpose, clear)."""
    opened = rig.do(OpenTransfer())
    boxes = {
        field: seal_secret(opened.public_key, KeyMaterial(clear), purpose)
        for field, (purpose, clear) in secrets.items()
    }
    return {"transfer": opened.transfer, **boxes}


def export(rig: Rig, password: str = "", provider: ProviderId = NKP) -> bytes:
    more = sealed(rig, password=("password", password.encode())) if password else {}
    location = rig.do(ExportProvider(provider=provider, **more))  # type: ignore[arg-type]
    mine = OneTimeKey()
    found = rig.do(DownloadExport(token=location.token, recipient=mine.public))
    return mine.open_box(found.config, "backup").reveal()


def importing(rig: Rig, config: bytes, password: str = "", **more: object) -> ImportProvider:
    secrets = {"config": ("backup", config)}
    if password:
        secrets["password"] = ("password", password.encode())
    return ImportProvider(**sealed(rig, **secrets), **more)  # type: ignore[arg-type]


def listed(rig: Rig) -> dict[ProviderId, ProviderInfo]:
    return {info.provider: info for info in rig.do(ListKmsClusters()).providers}


def at_rest(rig: Rig) -> bytes:
    return b"".join(data for _, data in rig.world.stores[VCENTER].images())


# ---- made, and gated by its backup ------------------------------------------------------------


def test_it_must_be_backed_up_before_it_is_used(rig: Rig) -> None:
    """NKP-05."""
    made = create(rig)
    assert (made.health, made.details) == (ProviderHealth.ERROR, (NOT_BACKED_UP,))
    assert made.default and made.management_type is ManagementType.NATIVE_PROVIDER
    rig.host(A)
    rig.do(CreateVm(operation_id="c", vm=VM, cluster=CLUSTER, host=A))
    for message in (
        EncryptVm(operation_id="e", vm=VM),
        CreateVm(operation_id="d", vm=VM, cluster=CLUSTER, encrypted=True),
    ):
        refused = rig.refused(message)
        assert isinstance(refused, InvalidState | AlreadyExists)
    assert "export it once" in str(rig.refused(EncryptVm(operation_id="e", vm=VM)))
    assert isinstance(rig.refused(ConfigureCryptoKey(host=A)), InvalidState)
    generated = rig.do(GenerateKey(operation_id="g"))
    assert not generated.success and "not backed up" in generated.reason
    assert rig.vm_info(VM).key is None and rig.hosts[A].host_key is None
    export(rig)
    assert listed(rig)[NKP].health is ProviderHealth.OK
    assert rig.ids()[0] == E.KMS_NOT_BACKED_UP and rig.ids()[-1] == E.KMS_ALL_BACKED_UP
    assert rig.do(GenerateKey(operation_id="g")).success


def test_it_is_exported_under_vcenters_name_only(rig: Rig) -> None:
    """NKP-03, SC-49."""
    create(rig)
    refused = rig.refused(ExportProvider(provider=NKP, authority="192.0.2.10"))
    assert isinstance(refused, InvalidArgument) and "'192.0.2.10'" in str(refused)
    assert listed(rig)[NKP].health is ProviderHealth.ERROR
    assert rig.do(ExportProvider(provider=NKP, authority=VCENTER)).url


def test_a_vcenter_that_is_started_again_goes_on_with_the_day(rig: Rig) -> None:
    """Started twice a day, it would never tell otherwise."""
    create(rig)
    mark = rig.mark()
    for _ in range(4):
        rig.sleep(0.4 * DAY_S)
        rig.reboot(VCENTER)
    assert rig.ids(mark).count(E.KMS_NOT_BACKED_UP) == 1
    rig.sleep(0.45 * DAY_S)
    assert rig.ids(mark).count(E.KMS_NOT_BACKED_UP) == 2


def test_it_is_told_again_every_day_until_it_is_backed_up(rig: Rig) -> None:
    create(rig)
    mark = rig.mark()
    rig.sleep(2.5 * DAY_S)
    assert rig.ids(mark) == [E.KMS_NOT_BACKED_UP] * 2
    export(rig)
    mark = rig.mark()
    rig.sleep(2 * DAY_S)
    assert rig.ids(mark) == []
    changed = rig.do(UpdateNativeProvider(provider=NKP, key_id=UUID)).provider
    assert (changed.health, changed.details) == (
        ProviderHealth.WARNING,
        (NOT_BACKED_UP_AFTER_UPDATE,),
    )
    rig.sleep(DAY_S)
    assert rig.ids(mark) == [E.KMS_NOT_BACKED_UP_AFTER_UPDATE] * 2
    export(rig)
    assert listed(rig)[NKP].health is ProviderHealth.OK


def test_given_material_is_taken(rig: Rig) -> None:
    kdk = KeyMaterial(b"g" * 32)
    secret = sealed(rig, key_derivation_key=("key derivation key", kdk.reveal()))
    made = create(rig, key_id=UUID.upper(), **secret)
    assert made.key_id == UUID
    found = read_backup(export(rig), "")
    assert (found.provider, found.key_id, found.kdk) == (NKP, UUID, kdk)


@pytest.mark.parametrize(
    "wrong",
    [
        {"key_id": "no uuid"},
        {"key_id": "00000000-0000-0000-0000-000000000000"},
        {"transfer": "none", "key_derivation_key": b"x" * 80},
    ],
)
def test_wrong_material_is_refused(rig: Rig, wrong: dict[str, object]) -> None:
    message = CreateNativeProvider(provider=NKP, **wrong)  # type: ignore[arg-type]
    assert isinstance(rig.refused(message), InvalidArgument)
    short = sealed(rig, key_derivation_key=("key derivation key", b"short"))
    message = CreateNativeProvider(provider=NKP, **short)  # type: ignore[arg-type]
    assert isinstance(rig.refused(message), InvalidArgument)
    assert listed(rig) == {}


def test_names_are_one_for_all_types(rig: Rig) -> None:
    create(rig)
    assert isinstance(rig.refused(CreateNativeProvider(provider=NKP)), AlreadyExists)
    other = RegisterKmsCluster(provider=NKP, management_type=ManagementType.NATIVE_PROVIDER)
    assert isinstance(rig.refused(other), InvalidArgument)
    rig.provider()
    assert isinstance(rig.refused(CreateNativeProvider(provider=P)), AlreadyExists)
    assert isinstance(rig.refused(ExportProvider(provider=P)), InvalidArgument)
    assert isinstance(rig.refused(ExportProvider(provider=ProviderId("none"))), NotFound)
    assert isinstance(rig.refused(UpdateNativeProvider(provider=P, key_id=UUID)), InvalidArgument)


def test_the_33rd_provider_is_refused(rig: Rig) -> None:
    for number in range(32):
        rig.do(CreateNativeProvider(provider=ProviderId(f"nkp-{number}")))
    assert isinstance(rig.refused(CreateNativeProvider(provider=NKP)), InvalidState)


# ---- exports and imports ------------------------------------------------------------------------


def test_a_token_is_good_once_and_for_a_while(rig: Rig) -> None:
    """NKP-03: only the download counts as a backup."""
    create(rig)
    mine = OneTimeKey().public
    location = rig.do(ExportProvider(provider=NKP))
    assert listed(rig)[NKP].details == (NOT_BACKED_UP,)
    assert isinstance(rig.refused(DownloadExport(token="guess", recipient=mine)), NoPermission)
    rig.sleep(TOKEN_LIFETIME_S + 1)
    late = DownloadExport(token=location.token, recipient=mine)
    assert isinstance(rig.refused(late), NoPermission)
    fresh = DownloadExport(token=rig.do(ExportProvider(provider=NKP)).token, recipient=mine)
    rig.do(fresh)
    assert isinstance(rig.refused(fresh), NoPermission)
    assert listed(rig)[NKP].health is ProviderHealth.OK


def test_a_download_that_fails_is_no_backup(rig: Rig) -> None:
    create(rig)
    token = rig.do(ExportProvider(provider=NKP)).token
    assert isinstance(rig.refused(DownloadExport(token=token, recipient=b"")), InvalidArgument)
    assert listed(rig)[NKP].details == (NOT_BACKED_UP,)


@pytest.mark.slow
def test_an_import_brings_the_same_keys_back(rig: Rig) -> None:
    """NKP-04, NKP-17."""
    made = create(rig, tpm_required=True)
    backup = export(rig, "secret")
    before = read_backup(backup, "secret")
    assert isinstance(rig.refused(importing(rig, backup, "secret")), AlreadyExists)
    rig.do(UnregisterKmsCluster(provider=NKP))
    assert listed(rig) == {}
    assert isinstance(rig.refused(importing(rig, backup, "wrong")), InvalidArgument)
    assert isinstance(rig.refused(importing(rig, backup[:-1], "secret")), InvalidArgument)
    said = rig.do(importing(rig, backup, "secret", dry_run=True))
    assert (said.provider, said.key_id, said.tpm_required) == (NKP, made.key_id, True)
    assert said.state is None and listed(rig) == {}
    done = rig.do(importing(rig, backup, "secret", tpm_required=False))
    assert done.state is not None and done.state.health is ProviderHealth.OK
    assert not done.state.tpm_required
    assert read_backup(export(rig), "").kdk == before.kdk


def test_an_import_needs_a_place_and_a_name_that_is_free(rig: Rig) -> None:
    """A dry run is told the same, and leaves nothing."""
    create(rig)
    backup = export(rig)
    rig.do(UnregisterKmsCluster(provider=NKP))
    rig.provider(NKP)  # a standard one, meanwhile
    for dry_run in (True, False):
        assert isinstance(rig.refused(importing(rig, backup, dry_run=dry_run)), AlreadyExists)
    rig.do(UnregisterKmsCluster(provider=NKP))
    for number in range(32):
        rig.do(CreateNativeProvider(provider=ProviderId(f"nkp-{number}")))
    for dry_run in (True, False):
        refused = rig.refused(importing(rig, backup, dry_run=dry_run))
        assert isinstance(refused, InvalidState) and "32" in str(refused)
    assert len(listed(rig)) == 32 and NKP not in listed(rig)
    rig.do(UnregisterKmsCluster(provider=ProviderId("nkp-31")))
    assert rig.do(importing(rig, backup, dry_run=True)).state is None
    assert rig.do(importing(rig, backup)).state is not None


@pytest.mark.slow
def test_a_file_that_hurts_is_refused_and_vcenter_goes_on(rig: Rig) -> None:
    create(rig)
    backup = export(rig, "secret")
    rig.do(UnregisterKmsCluster(provider=NKP))
    rounds = b"\x02\x03" + (600_000).to_bytes(3, "big")
    assert rounds in backup
    hurts = backup.replace(rounds, b"\x02\x03\x7f\xff\xff", 1)
    for config in (hurts, backup[:-1], b"", b"x" * 4096, bytes(reversed(backup))):
        for dry_run in (True, False):
            refused = rig.refused(importing(rig, config, "secret", dry_run=dry_run))
            assert isinstance(refused, InvalidArgument) and str(refused).startswith("config: ")
    assert listed(rig) == {}
    assert rig.do(importing(rig, backup, "secret")).state is not None


def test_a_transfer_serves_one_request(rig: Rig) -> None:
    create(rig)
    backup = export(rig)
    rig.do(UnregisterKmsCluster(provider=NKP))
    message = importing(rig, backup, dry_run=True)
    rig.do(message)
    assert isinstance(rig.refused(message), InvalidArgument)


# ---- at rest, and over lives ---------------------------------------------------------------------


def test_a_kdk_is_not_in_clear_on_vcenters_disk_and_survives_its_life(rig: Rig) -> None:
    create(rig)
    kdk = read_backup(export(rig), "").kdk
    for way in ("crash", "power_loss"):
        rig.reboot(VCENTER, way)
        rig.sleep(5)
        assert read_backup(export(rig), "").kdk == kdk
        native = rig.vcenter.inventory.providers[NKP].native
        assert native is not None and kdk.reveal() not in native.wrapped
        assert kdk.reveal() not in at_rest(rig)


def test_a_symkey_that_was_left_unsynced_is_made_durable_first(rig: Rig) -> None:
    """A life that died between the file's rename and its sync: the next one reads the file, and
    may not keep a KDK under what a power loss takes."""
    rig.run(rig.services[VCENTER].disk.write(SYMKEY, b"s" * 32))
    rig.reboot(VCENTER)
    rig.sleep(5)
    create(rig)
    kdk = read_backup(export(rig), "").kdk
    rig.reboot(VCENTER, "power_loss")
    rig.sleep(5)
    assert read_backup(export(rig), "").kdk == kdk


def test_without_its_symkey_vcenter_says_that_it_cannot_serve(rig: Rig) -> None:
    create(rig)
    export(rig)
    rig.host(A)
    rig.do(ConfigureCryptoKey(host=A))
    disk = rig.services[VCENTER].disk
    rig.run(disk.remove(SYMKEY))
    rig.run(disk.sync_folder())
    rig.reboot(VCENTER)
    rig.sleep(20)
    found = listed(rig)[NKP]
    assert (found.health, found.details) == (ProviderHealth.ERROR, (NOT_AVAILABLE,))
    assert isinstance(rig.refused(ExportProvider(provider=NKP)), InvalidState)
    assert [ref.provider_id for ref in rig.hosts[A].providers] == [NKP]  # it keeps what it has
    other = ProviderId("another")
    rig.do(CreateNativeProvider(provider=other))
    assert NOT_BACKED_UP in listed(rig)[other].details
    assert NOT_AVAILABLE not in listed(rig)[other].details


def test_host_keys_are_ids_with_check_values(rig: Rig) -> None:
    create(rig)
    kdk = read_backup(export(rig), "").kdk
    rig.host(A, B)
    rig.do(ConfigureCryptoKey(host=A))
    key = rig.hosts[A].host_key
    row = rig.vcenter.inventory.clusters[CLUSTER]
    assert key is not None and key.provider_id == NKP and row.host_key == key
    assert row.host_key_check == check_value(derive_kek(kdk, key.key_id))
    assert rig.do(QueryCryptoKeyStatus(keys=(key,))).keys[0].reason is (
        KeyUnavailableReason.MANAGED_BY_NKP
    )


def test_hosts_are_told_at_once_and_health_says_who_lacks_it(rig: Rig) -> None:
    """NKP-02: created and deleted providers are pushed to all hosts of all clusters."""
    rig.host(A, B)
    rig.sleep(20)
    create(rig)
    export(rig)
    rig.sleep(5)
    for host in (A, B):
        assert [ref.provider_id for ref in rig.hosts[host].providers] == [NKP]
    assert listed(rig)[NKP].health is ProviderHealth.OK
    rig.hosts[A].errors["SetProviders"] = InvalidState("not now")
    rig.do(UpdateNativeProvider(provider=NKP, key_id=UUID))
    export(rig)
    rig.sleep(5)
    assert listed(rig)[NKP].details == (NOT_ON_ALL_HOSTS,)
    del rig.hosts[A].errors["SetProviders"]
    rig.sleep(301)
    assert listed(rig)[NKP].health is ProviderHealth.OK
    rig.do(UnregisterKmsCluster(provider=NKP))
    rig.sleep(5)
    assert [rig.hosts[host].providers for host in (A, B)] == [(), ()]


def test_each_start_checks_that_what_is_kept_encrypted_opens(rig: Rig) -> None:
    """crypto.IntegrityCheckPassed and IntegrityCheckFailed."""
    rig.reboot(VCENTER)
    assert rig.ids() == [], "there is nothing to check"
    create(rig)
    export(rig)
    mark = rig.mark()
    rig.reboot(VCENTER)
    assert rig.ids(mark) == [E.CRYPTO_INTEGRITY_CHECK_PASSED]
    disk = rig.services[VCENTER].disk
    symkey = rig.run(disk.read(SYMKEY))
    for damaged, event in (
        (bytes(len(symkey)), E.CRYPTO_INTEGRITY_CHECK_FAILED),
        (symkey, E.CRYPTO_INTEGRITY_CHECK_PASSED),
    ):
        disk = rig.services[VCENTER].disk
        rig.run(disk.write(SYMKEY, damaged))
        rig.run(disk.sync(SYMKEY))
        mark = rig.mark()
        rig.reboot(VCENTER)
        [told] = rig.events(mark)
        assert (told.event, told.provider) == (event, NKP if damaged != symkey else None)
    assert listed(rig)[NKP].health is ProviderHealth.OK
