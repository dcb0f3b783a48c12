"""Runs that the rules allow."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story, dark, locked


def sealed_later() -> Story:
    """A host without a seal, with persistence on, that is given one by a person."""
    story = Story(persistence=True, mode="NONE")
    story.fault("first", "host.power_loss", nodes=["esxi-001"]).boot("esxi-001").heal("first")
    story.host("esxi-001", "safe").vm("vm-01", "esxi-001", "running").passes(100).cut().passes(400)
    story.mode = "TPM"
    return story.host("esxi-001", "safe").passes(20)


GOOD: dict[str, Callable[[], Story]] = {
    "persisted, and running again": lambda: (
        dark(persistence=True)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(40)
    ),
    "not persisted, and locked": lambda: locked(dark(persistence=False)),
    "persistence without a seal, and locked": lambda: locked(dark(persistence=True, mode="NONE")),
    "stored since a TPM seals": lambda: (
        sealed_later()
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(40)
    ),
    "unlocked after the heal, and started by nobody": lambda: (
        locked(dark(persistence=False))
        .heal("wan")
        .passes(100)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(300)
    ),
    "a key server that is down, and no boot": lambda: Story(persistence=False).cut().passes(200),
    "a key that is destroyed while its VM runs": lambda: (
        Story(persistence=False)
        .fault("gone", "kms.key_state", vms=["vm-01"], servers=["kms"], state="destroy")
        .passes(200)
    ),
    "a screen after a changed setting": lambda: (
        Story(persistence=True)
        .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .node("esxi-001", "halted")
        .heal("dark")
        .passes(60)
    ),
    "a boot that was seen late, and began before its TPM was disabled": lambda: Story(
        persistence=True
    ).disabled_tpm(unseen=5.0, passes=4),
    "a screen after another TPM, until the cure": lambda: (
        Story(persistence=True)
        .fault("swap", "tpm.swap", nodes=["esxi-001"])
        .boot("esxi-001", passes=0)
        .node("esxi-001", "halted")
        .passes(60)
    ),
    "another build, which no policy covers": lambda: (
        Story(persistence=True)
        .fault("build", "host.boot_measure", nodes=["esxi-001"], build="9")
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "off because a command said so": lambda: (
        Story(persistence=False)
        .cut()
        .op("invoke", "vm-01")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(50)
        .op("info", "vm-01")
        .passes(200)
    ),
    "an operation without known end": lambda: (
        Story(persistence=False)
        .cut()
        .op("invoke", "vm-01")
        .op("info", "vm-01")
        .passes(20)
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(100)
    ),
    "an operation without known end on a host that is silent until long after it": lambda: (
        Story(persistence=True)
        .op("invoke", "vm-01")
        .op("info", "vm-01", error="Disconnected")
        .fault("dark", "site.power_loss", nodes=["esxi-001"])
        .node("esxi-001", "off")
        .passes(90)
        .heal("dark")
        .boot("esxi-001")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(60)
        .fault("again", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("again")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(60)
    ),
    "prepared while a fault is being made": lambda: (
        dark(persistence=False)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(1)
    ),
    "a host that does not answer": lambda: (
        Story(persistence=False)
        .fault("still", "proc.pause", nodes=["esxi-001"])
        .silent("esxi-001")
        .passes(100)
    ),
    "keys of a deleted provider that were taken away": lambda: (
        Story(persistence=True)
        .fault("del", "provider.delete", provider="p", vcenter="vcenter")
        .passes(700)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "a VM without encryption": lambda: (
        dark(persistence=False)
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "running", clear=True)
        .passes(60)
    ),
    "marked while its host has not the key, and for a while longer": lambda: (
        locked(dark(persistence=False))
        .marks("vm-01")
        .passes(40)
        .heal("wan")
        .passes(20)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(100)
        .marks()
        .passes(10)
    ),
    "refused for lack of a key, which it lacks": lambda: (
        locked(dark(persistence=False))
        .op("invoke", "vm-01")
        .op("info", "vm-01", off=True, error="EncryptionKeyRequired")
        .passes(40)
    ),
    "a key that was made before the key server went": lambda: (
        Story(persistence=True)
        .op("invoke", "", "key.create", n=7)
        .cut()
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
        .passes(10)
    ),
    "a key that was made before vCenter was seen to be up again": lambda: (
        Story(persistence=True)
        .fault("dark", "vcenter.down", nodes=["vcenter"])
        .node("vcenter", "off")
        .passes(10)
        .heal("dark")
        .op("invoke", "", "key.create", n=7)
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
        .passes(10)
    ),
    "a key that was made while links lose messages": lambda: (
        Story(persistence=True)
        .fault("loss", "link.loss", a=["vcenter"], b=["kms"], p=0.5, dir="both")
        .passes(10)
        .op("invoke", "", "key.create", n=7)
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
        .passes(10)
    ),
    "a host that comes back with its keys while links are slow": lambda: (
        Story(persistence=False)
        .fault("slow", "link.delay", a=["vcenter"], b=["esxi-001"], base_s=3.0, dir="both")
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(100)
    ),
    "a host that boots without one server of the bus": lambda: (
        Story(persistence=False)
        .fault("one", "broker.down", on=2)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(100)
    ),
    "a host that is not heard while a route of the bus is cut": lambda: (
        Story(persistence=False)
        .fault("one", "broker.route_cut", between_servers=[1, 2])
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .passes(200)
        .heal("one")
        .passes(5)
    ),
    "a host that is safe while a route of the bus is cut": lambda: (
        Story(persistence=False)
        .fault("one", "broker.route_cut", between_servers=[1, 2])
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(100)
    ),
    "two that stop the broker, of which one ends": lambda: (
        Story(persistence=False)
        .fault("one", "broker.restart")
        .passes(5)
        .fault("two", "broker.restart")
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .heal("one")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(100)
    ),
    "a provider that is added again for an earlier deletion": lambda: (
        Story(persistence=True)
        .fault("one", "provider.delete", provider="p", vcenter="vcenter")
        .fault("two", "provider.delete", provider="p", vcenter="vcenter")
        .passes(5)
        .heal("one")
        .passes(5)
        .op("invoke", "", "key.create", n=7)
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
        .passes(10)
    ),
    "a boot in the second in which a setting was changed": lambda: (
        Story(persistence=True)
        .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
        .boot("esxi-001")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "off as long as its power is away": lambda: (
        Story(persistence=True)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .node("esxi-001", "off")
        .passes(100)
    ),
    "a VM that its host starts ten seconds after its boot": lambda: (
        dark(persistence=True)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(10)
        .vm("vm-01", "esxi-001", "running")
        .passes(40)
    ),
    "refused after an eviction, while the provider is being added again": lambda: (
        Story(persistence=True, provider_delete_grace_s=30.0)
        .fault("del", "provider.delete", provider="p", vcenter="vcenter")
        .passes(100)
        .heal("del", verified=False)
        .passes(5)
        .op("invoke", "vm-01")
        .op("info", "vm-01", off=True, error="EncryptionKeyRequired")
        .passes(40)
    ),
    "a fault that was missed": lambda: (
        Story(persistence=False)
        .fault("pause", "proc.pause", nodes=["kms"], missed=True)
        .cut("other", ("esxi-001", "esxi-002"))
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(100)
    ),
    "a fault that was not made, and may be there": lambda: (
        Story(persistence=False)
        .fault("wan", "link.cut", a=["vcenter"], b=["kms"], error="KS-CHAOS-101")
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "locked")
        .passes(500)
    ),
    "another TPM and another setting at once": lambda: (
        Story(persistence=True)
        .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
        .fault("swap", "tpm.swap", nodes=["esxi-001"])
        .boot("esxi-001", passes=0)
        .node("esxi-001", "halted")
        .heal("swap")
        .heal("set")
        .passes(60)
    ),
    "keys that were not saved at once": lambda: (
        dark(persistence=True, config_save="hourly")
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "a host in maintenance starts nothing": lambda: (
        dark(persistence=True)
        .host("esxi-001", "safe", maintenance=True)
        .vm("vm-01", "esxi-001", "off")
        .passes(60)
    ),
    "persistence that was taken away": lambda: (
        Story(persistence=True)
        .host("esxi-001", "safe", persistence=False)
        .cut()
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "prepared", persistence=False)
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "a cut that is there when everybody leaves, and ends by itself": lambda: (
        Story(persistence=False)
        .cut()
        .passes(40)
        .note("unattended")
        .passes(60)
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
        .passes(40)
    ),
    "a fault that ends by itself while nobody carries its lease on": lambda: (
        Story(persistence=False)
        .cut()
        .passes(40)
        .note("unattended")
        .passes(60)
        .fault("late", "link.cut", a=["vcenter"], b=["kms"], dir="both")
        .passes(60)
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
        .passes(40)
    ),
    "a node that the end of another fault powers on": lambda: (
        Story(persistence=False)
        .fault("site", "site.power_loss", nodes=["kms", "esxi-002"])
        .passes(5)
        .fault("call", "point.crash", node="kms", happening="crash", moment="after")
        .passes(60)
        .heal("site")
        .passes(5)
        .op("ok", "", "key.create", n=7, key="k9", provider="p")
    ),
    "a host that goes down while its stored keys are being removed": lambda: (
        Story(persistence=True)
        .cut()
        .op("invoke", "vm-01", "esx.persistence.off_on")
        .fault("call", "point.crash", node="esxi-001", happening="crash", moment="after")
        .op("info", "vm-01", "esx.persistence.off_on")
        .boot("esxi-001")
        .heal("call")
        .host("esxi-001", "prepared", persistence=False)
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "on again by a command that nobody looked at before the power went": lambda: (
        Story(persistence=True)
        .cut("other", between=("vcenter", "esxi-002"))
        .op("invoke", "vm-01")
        .op("info", "vm-01")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(20)
        .op("invoke", "vm-01", "vm.off_on", n=2)
        .op("ok", "vm-01", "vm.off_on", n=2)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001", passes=50)
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "off within an operation, on by it, and off again by one whose end is unknown": lambda: (
        Story(persistence=True)
        .cut("other", between=("vcenter", "esxi-002"))
        .op("invoke", "vm-01")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .passes(2)
        .op("ok", "vm-01")
        .op("invoke", "vm-01", n=2)
        .op("info", "vm-01", n=2, off=True, error="HostUnreachable")
        .passes(120)
    ),
    "a VM that is moved to another host": lambda: (
        Story(persistence=True)
        .cut("other", between=("vcenter", "esxi-002"))
        .op("invoke", "vm-01", "vm.move")
        .vm("vm-01", "esxi-002", "off", wanted=False)
        .passes(50)
        .op("ok", "vm-01", "vm.move")
        .vm("vm-01", "esxi-002", "running")
        .passes(90)
    ),
    "a VM whose old and new host go down before anybody saw where it is": lambda: (
        Story(persistence=False)
        .op("invoke", "vm-01", "vm.move")
        .op("ok", "vm-01", "vm.move", host="esxi-002")
        .fault("dark", "site.power_loss", nodes=["esxi-001", "esxi-002"])
        .boot("esxi-001")
        .host("esxi-001", "safe")
        .passes(1)
        .challenge("vm-01", "InvalidPowerState: vm-01 is not running")
        .boot("esxi-002")
        .heal("dark")
        .passes(1)
        .challenge("vm-01", "InvalidPowerState: vm-01 is not running")
        .host("esxi-002", "safe")
        .vm("vm-01", "esxi-002", "running")
        .vm("vm-02", "esxi-002", "running")
        .passes(60)
    ),
    "a VM that two hosts list": lambda: (
        Story(persistence=True)
        .cut("other", between=("vcenter", "esxi-002"))
        .op("invoke", "vm-01", "vm.restart")
        .op("ok", "vm-01", "vm.restart")
        .vm("vm-01", "esxi-002", "running")
        .vm("vm-01", "esxi-001", "off")
        .passes(90)
    ),
    "a VM that came and went": lambda: (
        Story(persistence=True)
        .cut("other", between=("vcenter", "esxi-002"))
        .vm("new", "esxi-001", "off", wanted=False, clear=True)
        .passes(50)
        .op("ok", "vm-01", "vm.come_and_go", made="new", gone="k9")
        .vm("new", "esxi-001", "running", clear=True)
        .passes(90)
    ),
    "no TPM, nothing notices": lambda: (
        Story(persistence=False, mode="NONE")
        .fault("set", "host.boot_measure", nodes=["esxi-001"], secure_boot=False)
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
}
