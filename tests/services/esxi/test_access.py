"""Who may send what to a host: the whole table, and what each message of a host is in it."""

from __future__ import annotations

import pytest

import protocol.messages.host as host_messages
from protocol.messages.base import Request, Sealed, messages_of
from protocol.messages.host.crypto import (
    ActivateTpmCredential,
    AddKeys,
    ChangeHostKey,
    CryptoManagerHostEnable,
    DecryptDump,
    ExportBaseImage,
    ExportTpmEndorsement,
    GetCryptoKeyStatus,
    ListDumps,
    QueryTpmAttestationReport,
    QueryTrustedConfiguration,
    QueryTrustedServices,
    RemoveDump,
    WriteDump,
)
from protocol.messages.host.session import (
    CheckForUpdates,
    Command,
    Esxcli,
    HaElect,
    HaHeartbeat,
    HaRestartVm,
    HostClaim,
    OpenSession,
    QueryHost,
    QueryHostClaims,
    SaveConfiguration,
)
from protocol.messages.host.vms import (
    CheckRelocate,
    GuestChallenge,
    GuestTpmChallenge,
    GuestTpmSeal,
    GuestWrite,
    QueryVmConfig,
    SendMemory,
    SwitchOver,
)
from protocol.messages.host.vsan import (
    FetchVsanReplica,
    GenerateVsanClientCert,
    QueryVsan,
    QueryVsanComponent,
    QueryVsanEncryptionHealth,
    ReadVsanObject,
    ReserveVsanWrite,
    SyncVsanComponent,
    WriteVsanObject,
)
from protocol.terms import NodeName, VmName
from protocol.tpm.structures import PCR_ATTESTED, TpmCredential
from services.esxi.access import (
    AccessClass,
    Relation,
    RelationPermission,
    Relations,
    kind_of,
    permission_for,
)
from tests.services.esxi.rig import HOST_KEY

VC, PEER, KPS, OTHER = (NodeName(name) for name in ("vcenter", "esxi-002", "kps-1", "esxi-099"))
RELATIONS = Relations(VC, cluster_peers=frozenset({PEER}), trust_authority=frozenset({KPS}))
ALLOWED, IN_SESSION, REFUSED = (
    RelationPermission.ALLOWED,
    RelationPermission.IN_SESSION,
    RelationPermission.REFUSED,
)


@pytest.mark.parametrize(
    ("node", "local", "relation"),
    [
        (VC, False, Relation.VCENTER),
        (PEER, False, Relation.CLUSTER_PEER),
        (KPS, False, Relation.TRUST_AUTHORITY),
        (OTHER, False, Relation.STRANGER),
        (OTHER, True, Relation.LOCAL_ADMINISTRATOR),
        (VC, True, Relation.LOCAL_ADMINISTRATOR),
    ],
)
def test_what_a_sender_is_to_a_host(node: NodeName, local: bool, relation: Relation) -> None:
    assert RELATIONS.of(node, local=local) is relation


def test_a_host_without_vcenter_takes_nobody_for_it() -> None:
    assert Relations(NodeName("")).of(NodeName(""), local=False) is Relation.STRANGER


def test_the_local_administrator_may_everything_and_its_vcenter_all_but_the_console() -> None:
    for kind in AccessClass:
        assert permission_for(kind, Relation.LOCAL_ADMINISTRATOR) is ALLOWED
    assert {kind: permission_for(kind, Relation.VCENTER) for kind in AccessClass} == {
        AccessClass.SESSION: ALLOWED,
        AccessClass.COMMAND: IN_SESSION,
        AccessClass.QUESTION: ALLOWED,
        AccessClass.CONSOLE: REFUSED,
        AccessClass.MIGRATION: REFUSED,
        AccessClass.AGENT: REFUSED,
        AccessClass.REPLICA: REFUSED,
    }


@pytest.mark.parametrize("relation", [Relation.TRUST_AUTHORITY, Relation.STRANGER])
def test_nobody_else_has_a_message_for_a_host_yet(relation: Relation) -> None:
    kinds = set(AccessClass) - {AccessClass.MIGRATION}
    assert {permission_for(kind, relation) for kind in kinds} == {REFUSED}


def test_what_belongs_to_a_migration_is_judged_by_it() -> None:
    """MOB-03: vCenter has named the one host that may speak in it, and no list of hosts has."""
    hosts = (Relation.CLUSTER_PEER, Relation.STRANGER)
    assert {permission_for(AccessClass.MIGRATION, of) for of in hosts} == {
        RelationPermission.AS_ANNOUNCED
    }
    assert permission_for(AccessClass.MIGRATION, Relation.TRUST_AUTHORITY) is REFUSED


def test_a_host_of_the_cluster_may_have_replicas_and_speak_to_the_agent() -> None:
    allowed = {
        kind for kind in AccessClass if permission_for(kind, Relation.CLUSTER_PEER) is ALLOWED
    }
    assert allowed == {AccessClass.REPLICA, AccessClass.AGENT}


GUESTS = (
    GuestWrite(vm=VmName("v"), marker=b""),
    GuestChallenge(vm=VmName("v"), nonce=b"", blocks=()),
    GuestTpmSeal(vm=VmName("v"), marker=b""),
    GuestTpmChallenge(vm=VmName("v"), nonce=b""),
)


REPLICAS: tuple[Request[object], ...] = (
    FetchVsanReplica(object="o", first=0, count=1),
    QueryVsanComponent(object="o"),
    ReserveVsanWrite(object="o", number=1),
    SyncVsanComponent(object="o", stamp=0, source=NodeName("h")),
)


CONSOLE: tuple[Request[object], ...] = (
    Esxcli(arguments=()),
    SaveConfiguration(),
    *GUESTS,
    WriteDump(dump="d"),
    ListDumps(),
    DecryptDump(dump="d"),
    RemoveDump(dump="d"),
    WriteVsanObject(object="o", marker=b""),
    ReadVsanObject(object="o", nonce=b"", blocks=()),
    GenerateVsanClientCert(),
    HostClaim(),
    QueryHostClaims(),
)


def test_the_kind_of_every_message_to_a_host() -> None:
    """A message that is added and classified by nobody is for the console, and shows up here."""
    assert {kind_of(message) for message in CONSOLE} == {AccessClass.CONSOLE}
    assert kind_of(OpenSession(session="s", vcenter_boot=1)) is AccessClass.SESSION
    questions: tuple[Request[object], ...] = (
        CheckForUpdates(),
        QueryHost(),
        GetCryptoKeyStatus(),
        QueryTpmAttestationReport(nonce=b"", selection=PCR_ATTESTED),
        ActivateTpmCredential(credential=TpmCredential(b"", b"")),
        QueryTrustedConfiguration(),
        QueryTrustedServices(),
        ExportTpmEndorsement(),
        ExportBaseImage(),
        QueryVsan(),
        QueryVsanEncryptionHealth(),
        QueryVmConfig(vm=VmName("v")),
        CheckRelocate(vm=VmName("v")),
    )
    assert {kind_of(message) for message in questions} == {AccessClass.QUESTION}
    moving = (
        SendMemory(vm=VmName("v"), migration="m", number=0, data=b""),
        SwitchOver(vm=VmName("v"), migration="m"),
    )
    assert {kind_of(message) for message in moving} == {AccessClass.MIGRATION}
    for command in (
        AddKeys(keys=(), material=Sealed.of()),
        CryptoManagerHostEnable(key=HOST_KEY, material=Sealed.of()),
        ChangeHostKey(key=HOST_KEY, material=Sealed.of()),
    ):
        assert kind_of(command) is AccessClass.COMMAND
    agents: tuple[Request[object], ...] = (
        HaElect(epoch=""),
        HaHeartbeat(epoch="", datastore=True),
        HaRestartVm(epoch="", vm=VmName("v"), of=NodeName("h")),
    )
    assert {kind_of(message) for message in agents} == {AccessClass.AGENT}
    assert {kind_of(message) for message in REPLICAS} == {AccessClass.REPLICA}
    named = {
        type(message).__name__ for message in (*CONSOLE, *questions, *moving, *agents, *REPLICAS)
    }
    named.add("OpenSession")
    others = {
        name
        for name, message in messages_of(host_messages.__name__).items()
        if issubclass(message, Request) and not issubclass(message, Command)
    }
    assert others == named
