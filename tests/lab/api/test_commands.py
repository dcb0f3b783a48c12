"""The commands of a lab, as the library and the command line give them: in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.client import Lab
from lab.errors import KeysteadError

pytestmark = pytest.mark.sim

VM, HOST = "vm-01", "esxi-001"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(
        mode="sim", seed=3, hosts=2, vms=2, knobs={"remediation_interval_s": 60}
    ) as made:
        yield made


async def refused(lab: Lab, verb: str, **arguments: Any) -> KeysteadError:
    with pytest.raises(KeysteadError) as caught:
        await lab.do(verb, **arguments)
    return caught.value


async def test_looking_changes_nothing_and_agrees(lab: Lab) -> None:
    nodes = (await lab.do("get.nodes"))["items"]
    assert [n["node"] for n in nodes] == ["kms", "vcenter", "esxi-001", "esxi-002"]
    assert {n["state"] for n in nodes} == {"running"}
    there = await lab.do("directory")
    assert [n["node"] for n in there["nodes"]] == [n["node"] for n in nodes]
    keys = (await lab.do("get.keys"))["items"]
    assert len(keys) == 3 and all(k["available"] for k in keys)  # host key and two VMs
    used = {vm for k in keys for vm in k["encrypted_vms"]}
    assert used == {"vm-01", "vm-02"}
    view = await lab.do("get.host-view", node=HOST)
    assert view["crypto_state"] == "safe" and view["cached_keys"] == 3
    (server,) = (await lab.do("get.kms"))["items"]
    assert server["keys"] == 3 and server["states"] == {"Active": 3}
    rows = (await lab.do("get.audit", node="kms"))["items"]
    assert {"Create", "Activate", "Get"} <= {r["operation"] for r in rows}
    assert [r["sequence"] for r in rows] == list(range(1, len(rows) + 1))
    before = await lab.door.call("trace", b"")
    await lab.do("status")
    assert (await lab.do("status"))["vms"] == {"on": 2, "off": 0, "locked": 0}
    assert before != await lab.door.call("trace", b"")  # asking takes steps, and the trace tells


async def test_a_provider_says_why_it_is_red(lab: Lab) -> None:
    good = await lab.do("describe.provider", name="kms-provider")
    assert good["reasons"] == [] and good["vcenter"]["status"] == "green"
    await lab.cut("vcenter", "kms")
    await lab.do("host.shutdown", hosts=["kms"])
    bad = await lab.do("describe.provider", name="kms-provider")
    assert [r["rule"] for r in bad["reasons"]] == ["STD-08", "STD-08"]
    none = await lab.do("describe.provider", name="other")
    assert none["vcenter"] is None and none["reasons"][0]["rule"] == "DEL-01"


async def test_a_shut_down_host_is_off_and_comes_back_with_its_vms(lab: Lab) -> None:
    (row,) = (await lab.do("host.shutdown", hosts=[HOST]))["items"]
    assert (row["machine"], row["ended"]) == ("off", "stop")
    why = await lab.why(VM)
    assert why[0]["rule"] == "BOOT-01" and "host power-on" in why[0]["cure"]
    await lab.do("host.power-on", hosts=[HOST])
    await lab.sleep(60)
    assert (await lab.vm(VM))["power"] == "poweredOn"


async def test_a_paused_host_is_silent_and_goes_on(lab: Lab) -> None:
    (row,) = (await lab.do("host.pause", hosts=[HOST]))["items"]
    assert row["paused"]
    await lab.sleep(120)
    assert (await lab.host(HOST))["connection"] == "notResponding"
    (row,) = (await lab.do("host.resume", hosts=[HOST]))["items"]
    assert not row["paused"]
    await lab.sleep(120)
    assert (await lab.host(HOST))["connection"] == "connected"
    assert (await lab.vm(VM))["power"] == "poweredOn"


async def test_keys_change_state_at_the_operators_door(lab: Lab) -> None:
    """Deactivated keys are not brought to hosts any more; who has them goes on (STD-19)."""
    key = (await lab.vm(VM))["key"]
    shown = await lab.do("kms.key.revoke", key=key)
    assert shown["state"] == "Deactivated"
    assert (await lab.vm(VM))["power"] == "poweredOn"
    error = await refused(lab, "kms.key.activate", key=key)
    assert error.id == "KS-PRODUCT-001" and "KeyStateNotActiveOrEnabled" in str(error)
    shown = await lab.do("kms.key.destroy", key=key)
    assert shown["state"] == "Destroyed"
    error = await refused(lab, "kms.key.show", key="nothing")
    assert error.id == "KS-USE-002"
    error = await refused(lab, "kms.key.revoke", key=key, reason="boredom")
    assert error.id == "KS-USE-003" and "Key Compromise" in str(error)


async def test_unlock_is_refused_while_the_cause_is_there(lab: Lab) -> None:
    """CryptoUnlock_Task (LOCK-05): InvalidVmState while locked; afterwards it powers nothing on."""
    await lab.cut("vcenter", "kms")
    await lab.reboot(HOST)
    await lab.sleep(60)
    error = await refused(lab, "vm.unlock", vm=VM)
    assert "InvalidVmState" in str(error)
    await lab.heal()
    row = await lab.do("vm.unlock", vm=VM)
    assert (row["crypto"], row["power"]) == ("unlocked", "poweredOff")


async def test_the_guest_answers_from_its_disk(lab: Lab) -> None:
    written = await lab.do("guest.write", vm=VM, marker=b"a marker of the test")
    asked = {"vm": VM, "nonce": b"fresh", "blocks": (1, 5, 60)}
    first = await lab.do("guest.challenge", **asked)
    assert len(written["digest"]) == len(first["digest"]) == 32
    assert first["generation"] == 1 and 0 <= first["rewritten"] < 64
    other = await lab.do("guest.challenge", **{**asked, "nonce": b"another"})
    assert other["digest"] != first["digest"]
    await lab.vm_off(VM)
    error = await refused(lab, "guest.challenge", **asked)
    assert "InvalidPowerState" in str(error)


async def test_names_and_arguments_that_do_not_exist(lab: Lab) -> None:
    error = await refused(lab, "vm.unlock", vm="vm-1")
    assert error.id == "KS-USE-002" and "did you mean vm-01?" in str(error)
    with pytest.raises(KeysteadError, match="no verb") as caught:
        await lab.door.call("nope", b"\x80")
    assert caught.value.id == "KS-USE-001"
    with pytest.raises(KeysteadError) as caught:
        await lab.door.call("vm.unlock", b"\x80")
    assert caught.value.id == "KS-USE-003"
