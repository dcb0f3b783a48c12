"""Runs that break the rules: the story, the node of the record that shows it, a reason that is
told, and what the node is then. Some of them are needless outages of VMs."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story, dark, locked

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "persisted, and it stays down": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "off")
            .passes(60)
        ),
        "vm-01",
        "R36",
        "off",
    ),
    "persisted, and locked": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "vm-01",
        "R36",
        "locked",
    ),
    "it runs though it must be locked": (
        lambda: (
            dark(persistence=False)
            .host("esxi-001", "prepared")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "vm-01",
        "R6",
        "running",
    ),
    "loaded from a store that no TPM seals": (
        lambda: (
            dark(persistence=True, mode="NONE")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "unlocked though nobody has the key": (
        lambda: (
            dark(persistence=False)
            .host("esxi-001", "prepared")
            .vm("vm-01", "esxi-001", "off")
            .passes(60)
        ),
        "vm-01",
        "R6",
        "off",
    ),
    "safe though it must be prepared": (
        lambda: (
            dark(persistence=False)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "prepared though its key was persisted": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "prepared")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R35",
        "prepared",
    ),
    "an outage without a reason": (
        lambda: Story(persistence=False).cut().passes(30).vm("vm-01", "esxi-001", "off").passes(40),
        "vm-01",
        "R1",
        "off",
    ),
    "locked because a key server is down": (
        lambda: (
            Story(persistence=False).cut().passes(30).vm("vm-01", "esxi-001", "locked").passes(40)
        ),
        "vm-01",
        "R1",
        "locked",
    ),
    "the host has lost its mode without a boot": (
        lambda: Story(persistence=False).cut().passes(40).host("esxi-001", "prepared").passes(40),
        "esxi-001",
        "R3",
        "prepared",
    ),
    "no screen, with another TPM": (
        lambda: (
            Story(persistence=True)
            .fault("swap", "tpm.swap", nodes=["esxi-001"])
            .boot("esxi-001", passes=0)
            .host("esxi-001", "safe")
            .passes(60)
        ),
        "esxi-001",
        "R18",
        "safe",
    ),
    "no screen, with Secure Boot off": (
        lambda: (
            Story(persistence=True)
            .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R18",
        "safe",
    ),
    "no screen, in a boot that was seen late and began with its TPM disabled": (
        lambda: Story(persistence=True).disabled_tpm(unseen=5.0, passes=20),
        "esxi-001",
        "R18",
        "safe",
    ),
    "a screen for another build": (
        lambda: (
            Story(persistence=True)
            .fault("build", "host.boot_measure", nodes=["esxi-001"], build="9")
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .node("esxi-001", "halted")
            .heal("dark")
            .passes(60)
        ),
        "esxi-001",
        "R35",
        "halted",
    ),
    "down, and no fault took its power": (
        lambda: Story(persistence=True).cut().passes(10).node("esxi-001", "off").passes(60),
        "esxi-001",
        "R",
        "off",
    ),
    "not safe long after its key could come": (
        lambda: locked(dark(persistence=False)).heal("wan").passes(420),
        "esxi-001",
        "R3",
        "prepared",
    ),
    "a destroyed key that came all the same": (
        lambda: (
            Story(persistence=False)
            .fault("gone", "kms.key_state", vms=["vm-01"], servers=["kms"], state="destroy")
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "vm-01",
        "R29",
        "running",
    ),
    "an outage of ten seconds": (
        lambda: (
            Story(persistence=False)
            .cut()
            .passes(40)
            .vm("vm-01", "esxi-001", "off")
            .passes(10)
            .vm("vm-01", "esxi-001", "running")
            .passes(40)
        ),
        "vm-01",
        "R1",
        "off",
    ),
    "marked by vCenter while it runs": (
        lambda: Story(persistence=False).cut().passes(30).marks("vm-01").passes(10),
        "vcenter",
        "R1",
        "locked",
    ),
    "refused for lack of a key that is there": (
        lambda: (
            Story(persistence=False)
            .cut()
            .op("invoke", "vm-01")
            .passes(5)
            .op("info", "vm-01", off=True, error="EncryptionKeyRequired")
            .passes(10)
        ),
        "vm-01",
        "R2",
        "refused for lack of a key",
    ),
    "a key that was made though nobody could be asked": (
        lambda: (
            Story(persistence=True)
            .cut()
            .passes(10)
            .op("invoke", "", "key.create", n=7)
            .op("ok", "", "key.create", n=7, key="k9", provider="p")
            .passes(10)
        ),
        "",
        "R12",
        "made",
    ),
    "a dead TPM that nothing notices at the boot": (
        lambda: (
            Story(persistence=True)
            .fault("dead", "tpm.dead", nodes=["esxi-001"])
            .passes(10)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R18",
        "safe",
    ),
    "off on the host to which it was moved": (
        lambda: (
            Story(persistence=True)
            .cut("other", between=("vcenter", "esxi-001"))
            .op("invoke", "vm-01", "vm.move")
            .op("ok", "vm-01", "vm.move")
            .vm("vm-01", "esxi-002", "running")
            .passes(40)
            .vm("vm-01", "esxi-002", "off")
            .passes(60)
        ),
        "vm-01",
        "",
        "off",
    ),
    "off as within the operation that is said to have turned it on": (
        lambda: (
            Story(persistence=True)
            .cut("other", between=("vcenter", "esxi-002"))
            .op("invoke", "vm-01")
            .vm("vm-01", "esxi-001", "off", wanted=False)
            .passes(2)
            .op("ok", "vm-01")
            .passes(60)
        ),
        "vm-01",
        "",
        "off",
    ),
    "off after a boot of the host to which it was moved": (
        lambda: (
            Story(persistence=True)
            .op("invoke", "vm-01", "vm.move")
            .op("ok", "vm-01", "vm.move", host="esxi-002")
            .fault("dark", "host.power_loss", nodes=["esxi-002"])
            .boot("esxi-002")
            .heal("dark")
            .host("esxi-002", "safe")
            .vm("vm-01", "esxi-002", "off")
            .vm("vm-02", "esxi-002", "running")
            .passes(60)
        ),
        "vm-01",
        "R36",
        "off",
    ),
    "evicted before its grace": (
        lambda: (
            Story(persistence=True)
            .fault("del", "provider.delete", provider="p", vcenter="vcenter")
            .passes(100)
            .fault("dark", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "vm-01",
        "R38",
        "locked",
    ),
}

OUTAGES = {
    "persisted, and it stays down",
    "persisted, and locked",
    "an outage without a reason",
    "an outage of ten seconds",
    "locked because a key server is down",
    "not safe long after its key could come",
    "evicted before its grace",
    "off on the host to which it was moved",
    "off after a boot of the host to which it was moved",
    "off as within the operation that is said to have turned it on",
    "marked by vCenter while it runs",
    "refused for lack of a key that is there",
}
