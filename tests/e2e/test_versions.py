"""What each release refuses, and the next one does: hosts and vCenters of a lab, side by side.

``PLAYED`` has a play for each feature of the table (``protocol.releases``): it is given a lab whose
host or vCenter is of a release, and says whether that did it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from chaos.yaml_file import read_yaml
from lab.client import Lab
from lab.schema import commands as c
from lab.schema.commands.keys import ProviderKeys
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import SHIPPED, load
from protocol.releases import FEATURES, RELEASES, DecidingSide, Feature, Release, format_release
from protocol.terms import CryptoMode, KeyType

pytestmark = pytest.mark.sim

A, B, CLUSTER, STANDARD, NATIVE = "esxi-001", "esxi-002", "cluster-a", "kms-provider", "nkp"
_VC = "com.vmware.vc."
Play = Callable[[Lab, Path], Awaitable[bool]]


def file(host: str = "8.0U3", vcenter: str = "8.0U3", **hosts: Any) -> dict[str, Any]:
    """Two hosts of one release, the standard provider, no VMs."""
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "versions",
        "vcenters": [{"name": "vcenter", "version": vcenter}],
        "kms": [{"name": "kms"}],
        "providers": [{"name": STANDARD, "servers": ["kms"], "default": True}],
        "clusters": [{"name": CLUSTER, "hosts": {"count": 2, "version": host, **hosts}}],
    }


async def refusal(lab: Lab, command: Any) -> str:
    """What it is refused with; empty when it is done."""
    try:
        await lab.do(command)
    except KeysteadError as error:
        return str(error)
    return ""


async def done(lab: Lab, command: Any) -> bool:
    """Whether it is done; else it is refused as not supported, and nothing else."""
    said = await refusal(lab, command)
    assert not said or "not supported by" in said, said
    return not said


async def typed(lab: Lab, line: str) -> bool:
    """Whether the console knows the command."""
    result = await lab.do(c.Esx(A, tuple(line.split())))
    unknown = f"Error: Unknown command or namespace {line}"
    assert result.exit_code == 0 or result.output == unknown, result.output
    return result.exit_code == 0


async def native(lab: Lab, folder: Path) -> None:
    await lab.do(c.ProviderCreate(NATIVE))
    await lab.do(c.ProviderExport(NATIVE, str(folder / "nkp.p12")))


async def told(lab: Lab, event: str) -> bool:
    found = [one.event.value.removeprefix(_VC) for one in (await lab.do(c.GetEvents())).items]
    return event in found


async def encrypts_configuration(lab: Lab, folder: Path) -> bool:
    sealed = (await lab.do(c.GetHostView(A))).protection_mode.value == "TPM"
    assert await typed(lab, "system settings encryption get") is sealed
    await lab.fault("host.boot_measure", on=A, secure_boot=False)
    halted = (await lab.do(c.HostReboot((A,)))).halted
    assert bool(halted) is sealed, "what is not sealed needs no Secure Boot to open"
    return sealed


async def persists(lab: Lab, folder: Path) -> bool:
    enabled = await typed(lab, "system security keypersistence enable")
    await lab.do(c.VmCreate("vm-x", host=A, encrypted=True))
    stored = (await lab.do(c.GetHostView(A))).stored_keys
    assert bool(stored) is enabled
    return enabled


async def knows_native(lab: Lab, folder: Path) -> bool:
    await native(lab, folder)
    await lab.sleep(30)
    view = await lab.do(c.GetHostView(A))
    known = NATIVE in {ref.provider_id for ref in view.providers}
    made = c.VmCreate("vm-x", host=A, encrypted=True, provider=NATIVE)
    assert await done(lab, made) is known
    return known


async def makes_native(lab: Lab, folder: Path) -> bool:
    return await done(lab, c.ProviderCreate(NATIVE))


async def default_of_a_cluster(lab: Lab, folder: Path) -> bool:
    return await done(lab, c.ClusterDefaultProvider(CLUSTER, STANDARD))


async def generates_native(lab: Lab, folder: Path) -> bool:
    await native(lab, folder)
    before = (await lab.do(c.KeyIds())).items
    made = await done(lab, c.KeyGenerate(NATIVE))
    assert (len((await lab.do(c.KeyIds())).items) > len(before)) is made
    return made


async def names_who_manages(lab: Lab, folder: Path) -> bool:
    await native(lab, folder)
    await lab.sleep(30)
    await lab.do(c.VmCreate("vm-x", host=A, encrypted=True, provider=NATIVE))
    [key] = [one for one in (await lab.do(c.GetKeys())).items if one.key.startswith(NATIVE)]
    assert (key.available, key.reason) in ((True, None), (False, "KeyStateManagedByNKP"))
    return not key.available


async def says_where_keys_are_managed(lab: Lab, folder: Path) -> bool:
    await native(lab, folder)
    await lab.sleep(30)
    await lab.do(c.VmCreate("vm-n", host=A, encrypted=True, provider=NATIVE))
    await lab.do(c.VmCreate("vm-s", host=A, encrypted=True, provider=STANDARD))
    found = {
        key.key.partition("/")[0]: key.managed for key in (await lab.do(c.DescribeHost(A))).keys
    }
    assert found in ({NATIVE: "internal", STANDARD: "external"}, {NATIVE: None, STANDARD: None})
    return found[NATIVE] is not None


async def names_the_host_key(lab: Lab, folder: Path) -> bool:
    await lab.do(c.VmCreate("vm-s", host=A, encrypted=True))
    key = (await lab.do(c.KeyGenerate(STANDARD))).key
    named = await done(lab, c.ClusterCryptoMode(CLUSTER, CryptoMode.FORCE_ENABLE, key=key))
    await lab.sleep(30)
    assert ((await lab.do(c.GetHostView(A))).crypto_key_id == key) is named
    return named


async def remediates(lab: Lab, folder: Path) -> bool:
    return await done(lab, c.TrustRemediate(CLUSTER))


async def tells_of_providers(lab: Lab, folder: Path) -> bool:
    await lab.do(c.VmCreate("vm-x", host=A, encrypted=True))
    await lab.do(c.HostPowerOff(("attestation-1", "attestation-2")))
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(400)
    assert (await lab.do(c.GetTrustedHosts())).items[0].attestation != "attested"
    return await told(lab, "kms.crypto.TrustAuthority.ClusterNotAvailable")


async def tells_of_the_sts(lab: Lab, folder: Path) -> bool:
    assert (await lab.do(c.TrustRenewCertificate())).stale_principal
    return await told(lab, "TrustAuthority.StsCertificatesChange")


async def replaces_vtpm(lab: Lab, folder: Path) -> bool:
    await lab.do(c.VmCreate("vm-x", host=A, encrypted=True))
    return await done(lab, c.VmClone("vm-x", "vm-c", tpm="replace"))


async def wraps_keys(lab: Lab, folder: Path) -> bool:
    keys = ProviderKeys(key_type="wrappedKey")
    wrapped = await done(lab, c.ProviderAdd(STANDARD, ("kms",), keys=keys))
    await lab.do(c.VmCreate("vm-x", host=A, encrypted=True))
    [vm] = (await lab.do(c.GetVms())).items
    assert ("/wrapped:" in str(vm.key)) is wrapped
    return wrapped


PLAYED: Final[dict[Feature, Play]] = {
    Feature.CONFIGURATION_ENCRYPTION: encrypts_configuration,
    Feature.KEY_PERSISTENCE: persists,
    Feature.NATIVE_ON_HOST: knows_native,
    Feature.NATIVE_PROVIDER: makes_native,
    Feature.VTPM_REPLACE: replaces_vtpm,
    Feature.DEFAULT_PER_CLUSTER: default_of_a_cluster,
    Feature.NATIVE_GENERATE_KEY: generates_native,
    Feature.KEY_MANAGEMENT: says_where_keys_are_managed,
    Feature.CRYPTO_POLICY: names_the_host_key,
    Feature.KEY_REASONS: names_who_manages,
    Feature.WRAPPED_KEYS: wraps_keys,
    Feature.TRUST_REMEDIATION: remediates,
    Feature.TRUST_PROVIDER_EVENTS: tells_of_providers,
    Feature.STS_EVENT: tells_of_the_sts,
}
ELSEWHERE: Final = {
    Feature.VSAN_PERSISTENCE: "tests/e2e/test_vsan.py::test_persistence_covers_it_from_7_0_u3"
}


def lab_of(feature: Feature, release: Release) -> Lab:
    """A lab whose host, or vCenter, is of that release."""
    version = format_release(release)
    trusted = feature.name.startswith(("TRUST", "STS"))
    if trusted:
        whole = read_yaml((SHIPPED / "trusted.yaml").read_text()).data
        whole["vcenters"][0]["version"] = version
        whole["clusters"][0]["hosts"]["version"] = version
        return Lab("sim", topology=whole, seed=5, hosts=1, vms=0, tpm="model")
    side = FEATURES[feature].side
    hosts = version if side is DecidingSide.HOST else "7.0U2" if release >= RELEASES[2] else version
    made = file(host=hosts, vcenter="8.0U3" if side is DecidingSide.HOST else version)
    return Lab("sim", topology=made, seed=5, tpm="model")


def test_every_feature_is_played() -> None:
    assert PLAYED.keys() | ELSEWHERE.keys() == set(Feature)
    for id in ELSEWHERE.values():
        path, _, name = id.partition("::")
        assert f"def {name}(" in (Path(__file__).parents[2] / path).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("with_it", [False, True], ids=["before", "since"])
@pytest.mark.parametrize("feature", PLAYED, ids=lambda feature: feature.name)
async def test_what_a_release_refuses_the_next_one_does(
    feature: Feature, with_it: bool, tmp_path: Path
) -> None:
    since = FEATURES[feature].release
    release = since if with_it else RELEASES[RELEASES.index(since) - 1]
    async with lab_of(feature, release) as lab:
        assert await PLAYED[feature](lab, tmp_path) is with_it


# ---- clusters of several releases -----------------------------------------------------------


def mixed(*versions: str, **hosts: Any) -> dict[str, Any]:
    made = file(**hosts)
    made["clusters"][0]["hosts"] = {"count": len(versions), "versions": list(versions), **hosts}
    return made


async def test_an_older_host_takes_part_in_what_it_knows(tmp_path: Path) -> None:
    """Standard keys are everywhere, native ones only where the release has them."""
    async with Lab("sim", topology=mixed("8.0U3", "7.0U1"), seed=5, tpm="model") as lab:
        await lab.do(c.VmCreate("vm-s", host=A, encrypted=True))
        await lab.do(c.VmOn(("vm-s",)))
        await lab.sleep(5)
        await lab.do(c.VmMigrate("vm-s", B))
        assert (await lab.do(c.GetHostView(B))).version == "7.0U1"
        await native(lab, tmp_path)
        await lab.do(c.VmCreate("vm-n", host=A, encrypted=True, provider=NATIVE))
        await lab.do(c.VmOn(("vm-n",)))
        moved = await refusal(lab, c.VmMigrate("vm-n", B))
        assert "native key providers on a host: not supported by esxi-002" in moved
        assert "which is host 7.0 U1; it came with 7.0 U2" in moved
        [vm] = [one for one in (await lab.do(c.GetVms())).items if one.vm == "vm-n"]
        assert (vm.host, vm.power.value) == (A, "poweredOn")
        provider = await lab.do(c.DescribeProvider(NATIVE))
        assert (
            provider.vcenter is not None and provider.vcenter.health.value == "OK"
        )  # on every host that can have it
        await lab.sleep(700)
        alarms = (await lab.do(c.GetAlarms())).items
        assert [alarm.alarm for alarm in alarms] == ["alarm.HostRecoveryKeyBackup"]  # of A


async def test_only_the_host_of_the_release_that_has_it_comes_back_by_itself() -> None:
    """An outage, and both hosts reboot: the persisted keys are on the newer one."""
    async with Lab("sim", topology=mixed("7.0U3", "7.0U1"), seed=5, tpm="model") as lab:
        result = await lab.do(c.Esx(A, ("system", "security", "keypersistence", "enable")))
        assert result.exit_code == 0
        await lab.do(c.VmCreate("vm-s", host=A, encrypted=True))
        await lab.sleep(5)
        await lab.do(c.HostPowerOff(("kms",)))
        await lab.do(c.HostReboot((A, B)))
        await lab.sleep(60)
        states = {h.host: h.crypto_state for h in (await lab.do(c.GetHosts())).items}
        assert {host: str(state) for host, state in states.items()} == {A: "safe", B: "prepared"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"host": "6.7U3"}, "'6.7U3' is not a known version: use one of 7.0, 7.0U1"),
        ({"vcenter": "9.1"}, "'9.1' is not a known version"),
        (
            {"host": "8.0", "vcenter": "7.0U3"},
            "its hosts are 8.0, and vCenter vcenter is 7.0 U3: a vCenter manages hosts of its own",
        ),
        (
            {"host": "7.0U1", "key_persistence": True},
            "hosts.key_persistence: cluster cluster-a: key persistence: a host is 7.0 U1;",
        ),
        ({"versions": ["7.0"]}, "version and versions are given"),
    ],
)
def test_a_lab_file_that_no_release_fits_is_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(KeysteadError) as refused:
        load(file(**changes))
    assert refused.value.id == "KS-TOPO-001" and text in str(refused.value)


WRAPPED = {"default_key_type": "wrappedKey"}


@pytest.mark.parametrize(
    ("vcenter", "changes", "text"),
    [
        (
            "8.0U3",
            WRAPPED,
            "wrapped keys of a standard provider: vCenter vcenter is 8.0 U3; it came with 9.0",
        ),
        ("8.0U3", {"default_key_type": "rawKey"}, "it came with 9.0"),
        ("9.0", {"default_key_type": "wrapped"}, "default_key_type"),
        ("9.0", {**WRAPPED, "rotation_interval": "29d"}, "no interval of 30 to 3650 days"),
        ("9.0", {**WRAPPED, "rotation_interval": "3651d"}, "no interval of 30 to 3650 days"),
        ("9.0", {**WRAPPED, "rotation_interval": 90}, "such as 90d"),
        ("9.0", {**WRAPPED, "rotation_interval": "9h"}, "such as 90d"),
        (
            "9.0",
            {**WRAPPED, "rotation_interval": "30d", "wrapping_key": "k"},
            "a wrapping key given by its id is not replaced",
        ),
        ("9.0", {"rotation_interval": "30d"}, "it needs a default_key_type"),
        ("9.0", {"wrapping_key": "k"}, "it needs a default_key_type"),
    ],
)
def test_a_lab_file_with_keys_that_no_provider_has(
    vcenter: str, changes: dict[str, Any], text: str
) -> None:
    made = file(vcenter=vcenter)
    made["providers"][0] |= changes
    with pytest.raises(KeysteadError) as refused:
        load(made)
    assert refused.value.id == "KS-TOPO-001" and text in str(refused.value)


def test_only_standard_providers_have_wrapped_keys() -> None:
    made = file(vcenter="9.0")
    made["providers"].append({"name": NATIVE, "type": "native", **WRAPPED})
    with pytest.raises(KeysteadError, match="it is for standard providers only"):
        load(made)


@pytest.mark.parametrize("transport", ["bus", "kmip"])
@pytest.mark.parametrize(
    "how", [{"rotation_interval": "90d"}, {"wrapping_key": "of-the-operator"}, {}]
)
async def test_a_lab_with_wrapped_keys_has_one_key_at_its_key_server(
    transport: str, how: dict[str, str]
) -> None:
    made = file(vcenter="9.0")
    made["kms"][0]["transport"] = transport
    made["providers"][0] |= {**WRAPPED, **how}
    made["clusters"][0]["vms"] = {"count": 3, "provider": STANDARD}
    async with Lab("sim", topology=made, seed=5, tpm="model") as lab:
        [provider] = (await lab.do(c.GetProviders())).items
        assert provider.wrapping_key is not None and provider.key_type is KeyType.WRAPPED
        assert provider.wrapping_key.by_id is ("wrapping_key" in how)
        assert provider.rotation_days == (90 if "rotation_interval" in how else None)
        [server] = (await lab.do(c.GetKms())).items
        assert server.keys == 1
        keys = (await lab.do(c.GetKeys())).items
        assert len(keys) == 4  # of three VMs and two hosts, which share one
        for key in keys:
            assert key.available and key.wrapping_key == provider.wrapping_key
        await lab.do(c.HostReboot((A, B)))
        await lab.sleep(90)
        assert all(vm.power.value == "poweredOn" for vm in (await lab.do(c.GetVms())).items)


@pytest.mark.parametrize("release", RELEASES)
def test_each_release_can_be_named_quoted_or_as_a_number(release: Release) -> None:
    made = load(file(host=format_release(release), vcenter=str(release)))
    assert made.vcenters[0].version == made.clusters[0].hosts.version == format_release(release)
    if not release.update:
        unquoted: Any = float(f"{release.major}.{release.minor}")
        assert load(file(host=unquoted, vcenter=unquoted)).vcenters[0].version == format_release(
            release
        )


def test_native_providers_and_their_vms_need_a_release_that_has_them() -> None:
    made = file(host="7.0U1", vcenter="7.0U1")
    made["providers"] = [{"name": NATIVE, "type": "native"}]
    made["kms"] = []
    made["clusters"][0]["vms"] = {"count": 1, "provider": NATIVE}
    with pytest.raises(KeysteadError) as refused:
        load(made)
    assert "provider nkp: native key providers: vCenter vcenter is 7.0 U1" in str(refused.value)
    assert "native key providers on a host: a host is 7.0 U1" in str(refused.value)


async def test_hosts_are_upgraded_one_after_another_and_get_what_the_release_has() -> None:
    """UPG-01: sealed at the first boot, with the alarm of its recovery key (REC-03)."""
    async with Lab("sim", seed=7, topology=file(host="7.0U1"), tpm="model", vms=0) as lab:
        upgrade = c.HostUpgrade((A, B), "7.0U3")
        assert f"{A} is not in maintenance mode" in await refusal(lab, upgrade)
        await lab.do(c.HostEnterMaintenance((A,)))
        assert f"{B} is not in maintenance mode" in await refusal(lab, upgrade)
        assert (await lab.host(A)).version == "7.0U1", "none is changed when one is refused"
        await lab.do(c.HostPowerOff((B,)))
        done = await lab.do(upgrade)
        assert [row.machine for row in done.items] == ["running", "off"]
        assert (await lab.host(A)).version == "7.0U3"
        assert [a.of for a in (await lab.do(c.GetAlarms())).items if "Recovery" in a.alarm] == [A]
        await lab.do(c.HostPowerOn((B,)))
        await lab.esx(B, "system security keypersistence enable")
        assert "7.0 U2 is older: a host goes back to" in await refusal(
            lab, c.HostUpgrade((A,), "7.0U2")
        )
        assert "is no host" in await refusal(lab, c.HostUpgrade(("kms",), "8.0"))


async def test_a_host_is_not_upgraded_beyond_its_vcenter() -> None:
    async with Lab("sim", seed=7, topology=file(host="7.0U3", vcenter="8.0"), vms=0) as lab:
        refused = await refusal(lab, c.HostUpgrade((A,), "8.0U1"))
        assert "vcenter has 8.0: it manages no hosts of 8.0 U1" in refused
        with pytest.raises(KeysteadError, match="is not a known version"):
            c.HostUpgrade((A,), "9.1")


async def test_a_fault_of_the_firmware_that_ends_leaves_an_upgrade_as_it_is() -> None:
    async with Lab("sim", seed=7, topology=file(host="7.0U1"), tpm="model", vms=0) as lab:
        fault = await lab.fault("host.boot_measure", on=A, event="probe", pcr=5)
        await lab.do(c.HostEnterMaintenance((A,)))
        await lab.do(c.HostUpgrade((A,), "7.0U3"))
        assert (await lab.heal(fault)).healed == (fault,)
        await lab.do(c.HostReboot((A,)))
        assert (await lab.host(A)).version == "7.0U3"


async def test_a_host_that_has_the_release_is_left_running() -> None:
    """A command that is repeated changes nothing."""
    async with Lab("sim", seed=7, topology=file(host="7.0U1"), vms=0) as lab:
        await lab.do(c.HostEnterMaintenance((A,)))
        first = await lab.do(c.HostUpgrade((A,), "8.0"))
        again = await lab.do(c.HostUpgrade((A,), "8.0"))
        assert again == first


async def test_the_vcenter_that_manages_a_host_decides_whoever_is_named() -> None:
    whole = read_yaml((SHIPPED / "two-vcenters.yaml").read_text()).data
    whole["vcenters"][0]["version"] = "8.0"
    for cluster in whole["clusters"]:
        cluster["hosts"]["version"] = "8.0"
    async with Lab("sim", seed=7, topology=whole, hosts=1, vms=0, tpm="model") as lab:
        second = whole["vcenters"][1]["name"]
        with pytest.raises(KeysteadError, match=r"vcenter-a has 8\.0: it manages no hosts"):
            await lab.do(c.HostUpgrade((A,), "8.0U3"), vcenter=second)


async def test_a_host_says_of_which_release_it_is_and_what_helps_on_it() -> None:
    """Before 7.0 U2 there is no key persistence that one could enable."""
    async with Lab("sim", seed=7, topology=file(host="7.0U1"), tpm="model", vms=0) as lab:
        told = await lab.do(c.DescribeHost(A))
        assert told.host_view is not None and told.host_view.version == "7.0U1"
        cures = " ".join(reason.cure for reason in told.reasons)
        assert "keypersistence" not in cures and f"keystead host upgrade {A} --to" in cures


async def test_a_host_goes_back_to_the_release_it_had_and_vcenter_sees_it() -> None:
    """UPG-02: nothing is lost but what the configuration got since."""
    async with Lab("sim", seed=7, topology=file(host="7.0U3"), tpm="model", vms=0) as lab:
        rollback = c.HostRollback((A,))
        assert f"{A} has no other release to go back to" in await refusal(lab, rollback)
        await lab.do(c.HostEnterMaintenance((A,)))
        await lab.do(c.HostUpgrade((A,), "8.0U3"))
        await lab.do(c.HostExitMaintenance((A,)))
        await lab.esx(A, "system security keypersistence enable")
        await lab.do(c.VmCreate("vm-1", host=A, encrypted=True))
        assert f"{A} is not in maintenance mode" in await refusal(lab, rollback)
        assert "is no host" in await refusal(lab, c.HostRollback(("kms",)))
        await lab.do(c.HostEnterMaintenance((A,)))
        [done] = (await lab.do(rollback)).items
        assert (done.machine, (await lab.host(A)).version) == ("running", "7.0U3")
        told = await lab.do(c.DescribeHost(A))
        assert told.host_view is not None and not told.host_view.key_persistence
        await lab.do(c.HostExitMaintenance((A,)))
        await lab.sleep(400)
        host = await lab.host(A)
        assert (str(host.crypto_state), host.connection) == ("safe", "connected")
        assert [v.connection for v in (await lab.do(c.GetVms())).items] == ["orphaned"]
        await lab.do(c.VmUnregister(("vm-1",)))
        await lab.do(c.VmRegister("vm-1", host=A))
        [started] = (await lab.do(c.VmOn(("vm-1",)))).items
        assert started.power == "poweredOn", started
        assert f"{A} has no other release to go back to" in await refusal(lab, rollback)


async def test_what_was_removed_since_is_registered_again_and_shown_as_it_is() -> None:
    """UPG-02: the configuration of then names a VM whose files are gone, and one that moved."""
    async with Lab("sim", seed=7, topology=file(host="7.0U3"), tpm="model", vms=0) as lab:
        for vm in ("vm-gone", "vm-moved"):
            await lab.do(c.VmCreate(vm, host=A, encrypted=True))
        await lab.do(c.HostEnterMaintenance((A,)))
        await lab.do(c.HostUpgrade((A,), "8.0"))
        await lab.do(c.HostExitMaintenance((A,)))
        await lab.do(c.VmMigrate("vm-moved", B))
        await lab.do(c.VmOn(("vm-moved",)))
        await lab.do(c.VmDestroy(("vm-gone",)))
        await lab.do(c.HostEnterMaintenance((A,)))
        await lab.do(c.HostRollback((A,)))
        assert "KS-PRODUCT" in str((await lab.do(c.VmOn(("vm-gone",)))).items[0].error_id)
        found = {v.vm: (v.host, v.connection) for v in (await lab.do(c.GetVms())).items}
        assert found == {"vm-gone": (A, "invalid"), "vm-moved": (B, "connected")}
        await lab.do(c.VmUnregister(("vm-gone",)))
        assert [v.vm for v in (await lab.do(c.GetVms())).items] == ["vm-moved"]


async def test_what_goes_back_boots_before_it_is_upgraded_again() -> None:
    """The later configuration is still there until then, and no older release is to read it."""
    async with Lab("sim", seed=7, topology=file(host="7.0U1"), tpm="model", vms=0) as lab:
        await lab.do(c.HostEnterMaintenance((A,)))
        await lab.do(c.HostUpgrade((A,), "8.0"))
        await lab.esx(A, "system security keypersistence enable")
        await lab.do(c.HostPowerOff((A,)))
        await lab.do(c.HostRollback((A,)))
        again = c.HostUpgrade((A,), "8.0U3")
        assert f"{A} goes back to 7.0 U1 at its next boot: power it on" in await refusal(lab, again)
        await lab.do(c.HostUpgrade((A,), "7.0U1"))  # it has that already
        await lab.do(c.HostPowerOn((A,)))
        assert (await lab.do(c.GetHostView(A))).protection_mode.value == "NONE"
        await lab.do(again)
        await lab.do(c.HostRollback((A,)))
        view = await lab.do(c.GetHostView(A))
        assert (view.version, view.protection_mode.value) == ("7.0U1", "NONE")
        assert not view.key_persistence


async def test_what_did_not_boot_is_taken_back_before_another_is_installed() -> None:
    """Else the release that did boot is no longer the one to go back to."""
    top = file(host="7.0U3") | {"knobs": {"seal_pcrs": [4, 7]}}
    async with Lab("sim", seed=7, topology=top, tpm="model", vms=0) as lab:
        await lab.do(c.HostEnterMaintenance((A,)))
        [halted] = (await lab.do(c.HostUpgrade((A,), "8.0"))).items
        assert halted.machine == "halted"
        await lab.do(c.HostPowerOff((A,)))
        assert "host rollback" in await refusal(lab, c.HostUpgrade((A,), "8.0U3"))
        await lab.do(c.HostRollback((A,)))
        await lab.do(c.HostPowerOn((A,)))
        assert (await lab.host(A)).version == "7.0U3"


async def test_an_upgrade_that_has_not_booted_goes_back_to_what_did() -> None:
    async with Lab("sim", seed=7, topology=file(host="7.0U1"), tpm="model", vms=0) as lab:
        await lab.do(c.HostPowerOff((A,)))
        for release in ("7.0U2", "8.0"):
            await lab.do(c.HostUpgrade((A,), release))
        await lab.do(c.HostPowerOn((A,)))
        await lab.do(c.HostEnterMaintenance((A,)))
        await lab.do(c.HostRollback((A,)))
        assert (await lab.host(A)).version == "7.0U1"
        await lab.do(c.HostPowerOff((A,)))
        await lab.do(c.HostUpgrade((A,), "8.0"))
        await lab.do(c.HostRollback((A,)))
        await lab.do(c.HostPowerOn((A,)))
        assert (await lab.host(A)).version == "7.0U1"
