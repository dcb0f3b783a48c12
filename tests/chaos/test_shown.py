"""What vCenter shows at the end of a run, beside hosts that are asked themselves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaos.history import History
from chaos.lab import Directory, NodeEntry
from chaos.observe import last_looks
from chaos.observe.last_looks import AGAIN_S, SETTLE_S, look_at_what_is_shown
from protocol.messages.host.session import HostSummary, ProviderRef, VmSummary
from protocol.messages.vcenter.inventory import HostInfo, TpmAttestation
from protocol.messages.vcenter.providers import KmipServerStatus, ProviderInfo
from protocol.messages.vcenter.vms import VmInfo
from protocol.terms import (
    AttestationStatus,
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyId,
    ManagementType,
    NodeName,
    PowerState,
    ProviderHealth,
    ProviderId,
    Role,
    VmConnectionState,
    VmCryptoState,
    VmName,
)

HOST, CLUSTER = NodeName("esxi-001"), ClusterName("c")
VM, OTHER = VmName("vm-01"), NodeName("esxi-002")
KEY, NEW = (CryptoKeyId(KeyId(name), ProviderId("p")) for name in ("k1", "k2"))
SHOWS = "and vCenter shows"
ACCEPTED, REFUSED = AttestationStatus.ACCEPTED, AttestationStatus.NOT_ACCEPTED


def info(**more: Any) -> HostInfo:
    """The host as vCenter shows it when all is well."""
    fields: dict[str, Any] = {
        "host": HOST,
        "cluster": CLUSTER,
        "connection": HostConnectionState.CONNECTED,
        "crypto_state": HostCryptoState.SAFE,
        "tpm_present": True,
        "boot": 2,
        "version": "9.0",
        "attestation": TpmAttestation(time=1.0, status=ACCEPTED),
    }
    return HostInfo(**(fields | more))


def own(*vms: VmSummary, **more: Any) -> HostSummary:
    """The host as it has itself."""
    fields: dict[str, Any] = {
        "host": HOST,
        "boot": 2,
        "version": "9.0",
        "crypto_state": HostCryptoState.SAFE,
        "tpm_present": True,
        "vms": vms or (has(),),
    }
    return HostSummary(**(fields | more))


def lists(**more: Any) -> VmInfo:
    """The VM as vCenter shows it."""
    fields: dict[str, Any] = {
        "vm": VM,
        "cluster": CLUSTER,
        "host": HOST,
        "power": PowerState.ON,
        "connection": VmConnectionState.CONNECTED,
        "key": KEY,
    }
    return VmInfo(**(fields | more))


def has(**more: Any) -> VmSummary:
    """The VM as its host has it."""
    fields: dict[str, Any] = {"vm": VM, "power": PowerState.ON, "keys": (KEY,)}
    return VmSummary(**(fields | more))


class Views:
    """What is seen of a lab, one view after another; the last one stays."""

    def __init__(
        self,
        *views: tuple[HostInfo, HostSummary | None, VmInfo | None],
        beside: HostSummary | None = None,
        provider: ProviderInfo | None = None,
        vcenters: int = 1,
    ) -> None:
        self.views, self.slept = [*views], 0.0
        self.beside = beside  # another host, connected too
        self.provider, self.vcenters = provider, vcenters

    def directory(self) -> Directory:
        names = [NodeName(f"vcenter-{number}") for number in range(self.vcenters)]
        nodes = [
            entry
            for name in names
            for entry in (
                NodeEntry(node=name, role=Role.VCENTER, site="s"),
                NodeEntry(node=NodeName(f"of-{name}"), role=Role.ESXI, site="s", vcenter=name),
            )
        ]
        return Directory(nodes=tuple(nodes), vms=())

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        if len(self.views) > 1:
            del self.views[0]

    def look(self, lab: Any) -> Any:
        host, summary, vm = self.views[0]
        answer = [one for one in (summary, self.beside) if one is not None]
        shown_hosts = [host] if self.beside is None else [host, info(host=OTHER)]

        class Look:
            async def hosts(self) -> dict[NodeName, HostSummary]:
                return {one.host: one for one in answer}

            async def vcenter_hosts(self) -> dict[NodeName, HostInfo]:
                return {one.host: one for one in shown_hosts}

            async def vcenter_vms(self) -> dict[VmName, VmInfo]:
                return {vm.vm: vm} if vm is not None else {}

            async def providers(_) -> tuple[ProviderInfo, ...] | None:
                return None if self.provider is None else (self.provider,)

        return Look()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Any:
    def look(
        *views: tuple[HostInfo, HostSummary | None, VmInfo | None],
        beside: HostSummary | None = None,
        provider: ProviderInfo | None = None,
        vcenters: int = 1,
    ) -> dict[str, Any]:
        made: Any = Views(*views, beside=beside, provider=provider, vcenters=vcenters)
        monkeypatch.setattr(last_looks, "LabLook", made.look)
        history = History(None, lambda: 0.0)
        asyncio.run(look_at_what_is_shown(made, history))
        [record] = history.records
        assert (record.type, record.op) == ("state", "shown")
        return {**record.data, "slept": made.slept}

    return look


GOOD = {"hosts": 1, "vms": 1, "differ": {}, "refused": [], "slept": 0.0}


def test_what_agrees_is_looked_at_once(seen: Any) -> None:
    assert seen((info(), own(), lists())) == GOOD
    assert seen((info(), own(has(keys=(NEW, KEY))), lists())) == GOOD, "of several disks one"
    clear = seen((info(), own(has(keys=())), lists(key=None)))
    assert clear == GOOD


@pytest.mark.parametrize(
    ("field", "here", "there"),
    [
        ("boot", 3, 2),
        ("crypto_state", HostCryptoState.PREPARED, HostCryptoState.SAFE),
        ("key_persistence", True, False),
        ("in_maintenance_mode", True, False),
        ("tpm_present", False, True),
        ("version", "8.0", "9.0"),
        ("crypto_key_id", NEW, KEY),
        ("cached_keys", 1, 2),
    ],
)
def test_a_host_that_is_not_as_it_is_shown_is_told(
    seen: Any, field: str, here: Any, there: Any
) -> None:
    found = seen((info(**{field: there}), own(**{field: here}), lists()))
    assert found["differ"] == {HOST: f"{field} is {here}, and vCenter shows {there}"}
    assert found["slept"] == SETTLE_S


@pytest.mark.parametrize(
    ("vm", "listed", "text"),
    [
        (
            has(power=PowerState.OFF),
            lists(),
            "it is poweredOff, and vCenter shows poweredOn",
        ),
        (has(keys=(NEW,)), lists(), "it is under p/k2, and vCenter shows p/k1"),
        (has(keys=()), lists(), "it is under no key, and vCenter shows p/k1"),
        (has(), lists(key=None), "it is under p/k1, and vCenter shows no key"),
        (
            has(vm=VmName("vm-02"), locked_by=OTHER),
            lists(),
            "vCenter shows it on esxi-001, which does not list it",
        ),
        (has(), None, "esxi-001 lists it, and vCenter does not show it there"),
        *(
            (has(**{field: here}), lists(**{field: there}), f"{field} is {here}, {SHOWS} {there}")
            for field, here, there in (
                ("crypto", VmCryptoState.UNLOCKED, VmCryptoState.LOCKED),
                ("connection", VmConnectionState.CONNECTED, VmConnectionState.INVALID),
                ("missing", (), (KEY,)),
                ("vtpm", True, False),
                ("snapshots", ("one",), ("one", "two")),
                ("with_memory", ("one",), ()),
                ("template", True, False),
            )
        ),
    ],
)
def test_a_vm_that_is_not_as_it_is_shown_is_told(
    seen: Any, vm: VmSummary, listed: VmInfo | None, text: str
) -> None:
    assert seen((info(), own(vm), listed))["differ"] == {VM: text}


@pytest.mark.parametrize(
    ("vm", "listed"),
    [
        # Its host cannot read its configuration, and so knows no key of it.
        (has(keys=(), connection=VmConnectionState.INVALID), lists()),
        # Another host runs it, and this one lists it still.
        (has(locked_by=OTHER), None),
    ],
)
def test_what_a_host_does_not_know_is_held_against_nobody(
    seen: Any, vm: VmSummary, listed: VmInfo | None
) -> None:
    assert seen((info(), own(vm), listed))["differ"] == {}


@pytest.mark.parametrize(
    ("power", "shown_on", "differ"),
    [
        (PowerState.OFF, HOST, {}),
        (PowerState.OFF, OTHER, {}),
        (PowerState.OFF, None, {VM: "esxi-002 lists it, and vCenter does not show it there"}),
        (PowerState.ON, HOST, {VM: "esxi-002 lists it, and vCenter does not show it there"}),
    ],
)
def test_a_vm_that_two_hosts_list_is_shown_on_one_of_them_where_it_runs(
    seen: Any, power: PowerState, shown_on: NodeName | None, differ: dict[str, str]
) -> None:
    """A host that was away while its VM was registered elsewhere lists it still."""
    vm = None if shown_on is None else lists(host=shown_on, power=PowerState.OFF)
    beside = own(has(power=power), host=OTHER)
    assert seen((info(), own(has(power=PowerState.OFF)), vm), beside=beside)["differ"] == differ


def test_an_orphaned_vm_is_on_no_host(seen: Any) -> None:
    found = seen((info(), own(has(vm=VmName("vm-02"), locked_by=OTHER)), orphan()))
    assert (found["vms"], found["differ"]) == (0, {})


def orphan() -> VmInfo:
    return lists(connection=VmConnectionState.ORPHANED, crypto=None)


def test_hosts_that_do_not_answer_or_are_not_connected_are_left_out(seen: Any) -> None:
    nobody = {"hosts": 0, "vms": 0, "differ": {}, "refused": [], "slept": 0.0}
    assert seen((info(boot=9), None, lists())) == nobody
    away = info(boot=9, connection=HostConnectionState.NOT_RESPONDING)
    assert seen((away, own(), lists())) == nobody


def test_what_vcenter_learns_within_a_minute_is_no_difference(seen: Any) -> None:
    stale, refused = info(boot=1), info(attestation=TpmAttestation(time=1.0, status=REFUSED))
    assert seen((stale, own(), lists()), (info(), own(), lists())) == GOOD | {"slept": AGAIN_S}
    found = seen((refused, own(), lists()), (info(), own(), lists()))
    assert (found["refused"], found["slept"]) == ([], AGAIN_S)
    other = (info(), own(has(power=PowerState.OFF)), lists())
    assert seen((stale, own(), lists()), other)["differ"] == {}, "it is another one"


def test_a_tpm_that_is_not_attested_or_not_accepted_is_told(seen: Any) -> None:
    found = seen((info(attestation=None), own(), lists()))
    assert found["differ"] == {HOST: "vCenter has not attested its TPM"}
    bare = (info(attestation=None, tpm_present=False), own(tpm_present=False), lists())
    assert seen(bare) == GOOD
    refused = info(attestation=TpmAttestation(time=1.0, status=REFUSED))
    assert seen((refused, own(), lists()))["refused"] == [HOST]


def standard(status: str, *contacts: str) -> ProviderInfo:
    """A standard provider as vCenter shows it, with a server for each of these contacts."""
    seen = [KmipServerStatus(name=f"kms-{n}", status=one) for n, one in enumerate(contacts)]
    return ProviderInfo(
        provider=ProviderId("p"),
        management_type=ManagementType.VCENTER,
        servers=(),
        default=True,
        status=status,
        contacts=tuple(seen),
    )


@pytest.mark.parametrize(
    ("contacts", "status"),
    [
        (("green", "green"), "green"),
        (("red", "red"), "red"),
        (("red", "green"), "yellow"),
        (("gray", "gray"), "yellow"),
        (("gray", "red"), "yellow"),
    ],
)
def test_the_status_of_a_provider_follows_from_its_servers(
    seen: Any, contacts: tuple[str, ...], status: str
) -> None:
    good = (info(), own(), lists())
    for shows in ("green", "yellow", "red"):
        text = f"its servers are {', '.join(sorted({*contacts}))}, and vCenter shows {shows}"
        differ = {} if shows == status else {"key provider p": text}
        assert seen(good, provider=standard(shows, *contacts))["differ"] == differ
    assert seen(good, provider=standard("gray"))["differ"] == {}, "it has no servers"


NKP = ProviderRef(
    provider_id=ProviderId("p"), management_type=ManagementType.NATIVE_PROVIDER, key_id="kdk"
)
DERIVES: dict[str, Any] = {"providers": (NKP,), "kdks": (NKP.provider_id,)}
SOME_LACK = ("com.vmware.vim.vpxd.encryption.keyProviderNotOnAllHosts",)


def native(*details: str, key_id: str = "kdk", **more: Any) -> ProviderInfo:
    """A native provider as vCenter shows it; ``details``: why it is not healthy."""
    fields: dict[str, Any] = {
        "provider": NKP.provider_id,
        "management_type": NKP.management_type,
        "servers": (),
        "default": True,
        "status": "gray",
        "health": ProviderHealth.WARNING if details else ProviderHealth.OK,
        "details": details,
        "key_id": key_id,
    }
    return ProviderInfo(**(fields | more))


@pytest.mark.parametrize(
    ("host", "provider", "text"),
    [
        (DERIVES, native(), ""),
        (DERIVES, native("it is not backed up"), ""),
        ({}, native(*SOME_LACK), ""),
        ({"tpm_present": False}, native(tpm_required=True), ""),
        ({}, native(), f"esxi-001 is without its key, {SHOWS} OK ()"),
        (
            {**DERIVES, "kdks": ()},
            native(),
            f"esxi-001 is without its key, {SHOWS} OK ()",
        ),
        (DERIVES, native(key_id="old"), f"esxi-001 is without its key, {SHOWS} OK ()"),
        (
            DERIVES,
            native(*SOME_LACK),
            f"no connected host is without its key, {SHOWS} WARNING {SOME_LACK}",
        ),
        (DERIVES, native(key_id=""), "vCenter shows no id of its key"),
        (DERIVES, native(health=ProviderHealth.NONE), "vCenter shows no health of its key"),
    ],
)
def test_a_native_provider_is_shown_as_its_hosts_have_it(
    seen: Any, host: dict[str, Any], provider: ProviderInfo, text: str
) -> None:
    there = host.get("tpm_present", True)
    view = (info(tpm_present=there), own(**host), lists())
    assert seen(view, provider=provider)["differ"] == ({"key provider p": text} if text else {})


def test_hosts_of_several_vcenters_or_without_an_answer_say_nothing_of_a_provider(
    seen: Any,
) -> None:
    assert seen((info(), own(), lists()), provider=native(), vcenters=2)["differ"] == {}
    beside = own(has(vm=VmName("vm-02"), locked_by=OTHER), host=OTHER, **DERIVES)
    silent = seen((info(), None, lists()), beside=beside, provider=native(*SOME_LACK))
    assert "key provider p" not in silent["differ"]
