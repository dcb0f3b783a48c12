"""Three shapes of provider: one table says what each management type means, and flows obey it."""

from __future__ import annotations

import pytest

from protocol.errors import InvalidArgument, InvalidState, KeyProviderUnreachable, NotAvailable
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    GenerateKey,
    KmipServer,
    ListKmsClusters,
    MarkDefault,
    QueryCryptoKeyStatus,
    RegisterKmsCluster,
)
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, PowerOnVm
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    KmipState,
    ManagementType,
    PowerState,
    ProviderId,
    VmName,
)
from services.vcenter.hosts.plan import supplies
from services.vcenter.inventory import put
from services.vcenter.locks import event_for
from services.vcenter.providers.capabilities import (
    CAPABILITIES,
    NO_PROVIDER,
    HealthSource,
    KeyMaker,
    ValueBringer,
    of_provider,
)
from services.vcenter.tables import DatabaseTable, ProviderRow
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, P, Rig

T = ManagementType
R = KeyUnavailableReason
TRUSTED, NATIVE = ProviderId("trusted-one"), ProviderId("native-one")
SHAPES = [(TRUSTED, T.TRUST_AUTHORITY), (NATIVE, T.NATIVE_PROVIDER)]
shapes = pytest.mark.parametrize(("provider", "kind"), SHAPES, ids=[k.value for _, k in SHAPES])
fetched = pytest.mark.parametrize(
    ("provider", "kind"), [(TRUSTED, T.TRUST_AUTHORITY)], ids=["trustAuthority"]
)


def have(rig: Rig, provider: ProviderId, kind: ManagementType) -> None:
    """As if that provider had been registered."""
    row = ProviderRow(name=provider, management_type=kind)
    rig.run(rig.vcenter.inventory.commit(put(DatabaseTable.PROVIDER, provider, row)))


# ---- the table ------------------------------------------------------------------------------


def test_each_management_type_has_its_row() -> None:
    assert set(CAPABILITIES) == set(ManagementType)
    assert [kind for kind, row in CAPABILITIES.items() if row.created_by is not None] == [
        T.VCENTER,
        T.TRUST_AUTHORITY,
        T.NATIVE_PROVIDER,
    ]


@pytest.mark.parametrize(
    ("kind", "maker", "bringer", "health", "status"),
    [
        (T.VCENTER, KeyMaker.VCENTER, ValueBringer.VCENTER, HealthSource.KEY_SERVERS, None),
        (
            T.TRUST_AUTHORITY,
            KeyMaker.KEY_PROVIDER_SERVICE,
            ValueBringer.HOST_FETCHES,
            HealthSource.HOSTS,
            R.MANAGED_BY_TRUST_AUTHORITY,
        ),
        (
            T.NATIVE_PROVIDER,
            KeyMaker.DERIVATION,
            ValueBringer.HOST_DERIVES,
            HealthSource.BACKUP,
            R.MANAGED_BY_NKP,
        ),
        (T.UNKNOWN, KeyMaker.NOBODY, ValueBringer.NOBODY, HealthSource.NOBODY, R.CLUSTER_INVALID),
    ],
)
def test_who_does_what(
    kind: ManagementType,
    maker: KeyMaker,
    bringer: ValueBringer,
    health: HealthSource,
    status: KeyUnavailableReason | None,
) -> None:
    row = CAPABILITIES[kind]
    assert (row.key_made_by, row.values_brought_by) == (maker, bringer)
    assert (row.health_from, row.fixed_status) == (health, status)


@pytest.mark.parametrize(
    ("kind", "reason", "event"),
    [
        (T.VCENTER, R.CLUSTER_UNREACHABLE, "VMLocked.KMSClusterError"),
        (T.VCENTER, R.MISSING_IN_KMS, "VMLocked.KeyMissingOnKMS"),
        (T.VCENTER, R.MISSING_IN_CACHE, "VMLocked.KeyMissingOnHost"),
        (T.TRUST_AUTHORITY, R.CLUSTER_UNREACHABLE, "VMLocked.TAKMSClusterUnavaliable"),
        (T.TRUST_AUTHORITY, R.MISSING_IN_KMS, "VMLocked.TAKMSClusterUnavaliable"),
        (T.TRUST_AUTHORITY, R.MANAGED_BY_TRUST_AUTHORITY, "VMLocked.TAKeyMissingOnHost"),
        (T.NATIVE_PROVIDER, R.MANAGED_BY_NKP, "VMLocked.KeyMissingOnHost"),
        (T.NATIVE_PROVIDER, R.CLUSTER_INVALID, "VMLocked.KeyMissingOnHost"),
    ],
)
def test_lock_events_belong_to_the_type(
    kind: ManagementType, reason: KeyUnavailableReason, event: str
) -> None:
    assert event_for(reason, CAPABILITIES[kind].lock_events).value.endswith(event)


@pytest.mark.parametrize(
    ("kind", "brought"),
    [
        (T.VCENTER, True),
        (T.TRUST_AUTHORITY, False),
        (T.NATIVE_PROVIDER, False),
        (T.UNKNOWN, True),  # it is asked for, and has nothing
        (None, True),  # no provider of that name: it may have come back when it is asked
    ],
)
def test_a_missing_key_is_brought_as_the_table_says(
    kind: ManagementType | None, brought: bool
) -> None:
    key = CryptoKeyId(KeyId("k"), P)
    types = {} if kind is None else {P: kind}
    assert bool(supplies([key], types)) is brought
    assert of_provider(types, P) is (NO_PROVIDER if kind is None else CAPABILITIES[kind])


# ---- what vCenter cannot do for it says so, and nothing else suffers -----------------------------


@fetched
def test_vcenter_makes_no_key_of_it_and_knows_no_server_of_it(
    rig: Rig, provider: ProviderId, kind: ManagementType
) -> None:
    rig.up(A)
    have(rig, provider, kind)
    error = rig.refused(GenerateKey(operation_id="g", provider=provider))
    assert isinstance(error, NotAvailable) and kind.value in str(error)
    assert str(error).startswith(f"key provider {provider}: ")
    server = (KmipServer(name="k", node=KMS),)
    message = RegisterKmsCluster(provider=ProviderId("x"), management_type=kind, servers=server)
    assert isinstance(rig.refused(message), InvalidArgument)


@fetched
def test_a_host_that_gets_no_host_key_of_it_is_told_of(
    rig: Rig, provider: ProviderId, kind: ManagementType
) -> None:
    have(rig, provider, kind)
    rig.host(A)
    rig.do(MarkDefault(provider=provider))
    rig.hosts[A].errors["CryptoManagerHostEnable"] = InvalidState("it is not attested")
    mark = rig.mark()
    error = rig.refused(ConfigureCryptoKey(host=A))
    assert isinstance(error, KeyProviderUnreachable), error
    assert rig.hosts[A].crypto_state is HostCryptoState.PREPARED
    assert rig.ids(mark) == [E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR]
    assert [name for _, to, name in rig.sent if to == KMS] == []


@shapes
def test_status_and_health_come_from_who_answers_for_them(
    rig: Rig, provider: ProviderId, kind: ManagementType
) -> None:
    rig.up(A)
    rig.vm(VM)
    have(rig, provider, kind)
    theirs, before = CryptoKeyId(KeyId("opaque"), provider), len(rig.sent)
    found = rig.do(QueryCryptoKeyStatus(keys=(theirs, rig.key_of(VM)))).keys
    assert [status.reason for status in found] == [CAPABILITIES[kind].fixed_status, None]
    assert [name for _, to, name in rig.sent[before:] if to == KMS] == ["GetAttributes"]
    rig.sleep(301)
    listed = {info.provider: info.status for info in rig.do(ListKmsClusters()).providers}
    assert listed == {P: "green", provider: "gray"}


@shapes
def test_the_standard_provider_beside_it_works_as_ever(
    rig: Rig, provider: ProviderId, kind: ManagementType
) -> None:
    """Hosts that refuse to hear of the other one get their keys, and VMs their marks."""
    rig.up(A)
    rig.vm(VM)
    rig.vm(VmName("vm-02"))
    have(rig, provider, kind)
    rig.hosts[A].errors["SetProviders"] = NotAvailable("standard key providers only")
    lost = rig.key_of(VmName("vm-02"))
    rig.servers[KMS].set_state(lost.key_id, KmipState.DESTROYED)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    assert rig.key_of(VM) in rig.hosts[A].cache
    assert rig.ids(mark) == [E.HOST_CRYPTO_ENABLED, E.VM_LOCKED_KEY_MISSING_ON_KMS]
    assert rig.power_on_vm(VM).power is PowerState.ON


# ---- flows choose by the table ----------------------------------------------------------------


@fetched
def test_a_key_born_on_the_host_is_named_by_the_host(
    rig: Rig, provider: ProviderId, kind: ManagementType
) -> None:
    """KEY-02, TA-06: vCenter makes no key, fetches none and pushes none."""
    rig.up(A, B)
    rig.do(ConfigureCryptoKey(host=A))
    have(rig, provider, kind)
    rig.hosts[A].makes_keys_of.add(provider)
    rig.do(CreateVm(operation_id="c", vm=VM, cluster=CLUSTER, host=A))
    before = len(rig.sent)
    encrypt = EncryptVm(operation_id="e", vm=VM, provider=provider)
    done = rig.do(encrypt)
    assert done.key == CryptoKeyId(KeyId(f"made on {A}"), provider) == done.vm.key
    told = [name for src, to, name in rig.sent[before:] if src == VCENTER and to in (A, KMS)]
    assert told == ["QueryHost", "ReconfigureVm"]  # whether the host is safe
    assert rig.do(encrypt) == done  # a repeat is no change
    assert not isinstance(rig.refused(EncryptVm(operation_id="f", vm=VM)), NotAvailable)
    rig.reboot(VCENTER)
    rig.sleep(30)
    assert rig.do(encrypt).key == done.key


@fetched
def test_what_hosts_get_by_themselves_vcenter_does_not_bring_and_tells_that_it_is_missing(
    rig: Rig, provider: ProviderId, kind: ManagementType
) -> None:
    rig.up(A)
    rig.do(ConfigureCryptoKey(host=A))
    have(rig, provider, kind)
    rig.hosts[A].makes_keys_of.add(provider)
    rig.do(CreateVm(operation_id="c", vm=VM, cluster=CLUSTER, host=A))
    key = rig.do(EncryptVm(operation_id="e", vm=VM, provider=provider)).key
    mark = rig.mark()
    rig.reboot(A)  # its cache is empty now, and it says that it misses the key
    rig.sleep(30)
    asked, before = len(rig.servers[KMS].asked), len(rig.sent)
    rig.sleep(200)
    passes = [name for _, to, name in rig.sent[before:] if (to, name) == (A, "GetCryptoKeyStatus")]
    assert passes == []  # what it misses is no reason for a pass
    assert len(rig.servers[KMS].asked) == asked and key not in rig.hosts[A].cache
    lock = E.VM_LOCKED_TA_KMS_CLUSTER_UNAVAILABLE  # no service has attested it
    assert rig.ids(mark) == [E.HOST_CRYPTO_ENABLED, lock]
    assert rig.vm_info(VM).lock_event is lock
    refused = rig.refused(PowerOnVm(vm=VM))
    assert getattr(refused, "keys", ()) == (key,)  # the host's own refusal, handed on
