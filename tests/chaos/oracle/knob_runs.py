"""Runs of labs with other knobs or another provider, and of what happens in the middle of a boot:
good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.histories import Story, dark, locked

GRACE: dict[str, Any] = {"provider_delete_grace_s": 10.0, "remediation_interval_s": 20.0}


def deleted(seconds: int = 200, *, persistence: bool = True, **knobs: Any) -> Story:
    """The provider is deleted for so long; vm-01 was powered off by a command before."""
    story = Story(persistence=persistence, **{**GRACE, **knobs})
    story.op("invoke", "vm-01", "vm.off").op("ok", "vm-01", "vm.off")
    story.vm("vm-01", "esxi-001", "off", wanted=False)
    story.fault("del", "provider.delete", provider="p", vcenter="vcenter")
    return story.passes(seconds)


def enabled(**knobs: Any) -> Story:
    """Persistence comes on with all keys cached; then a boot with the key server away."""
    story = Story(persistence=False, **knobs)
    story.persistence = True
    story.host("esxi-001", "safe").host("esxi-002", "safe").cut().passes(5)
    story.fault("dark", "host.power_loss", nodes=["esxi-001"])
    return story.boot("esxi-001").heal("dark")


def up_and_running(story: Story, passes: int = 60) -> Story:
    return story.host("esxi-001", "safe").vm("vm-01", "esxi-001", "running").passes(passes)


def down_and_locked(story: Story, passes: int = 60) -> Story:
    return story.host("esxi-001", "prepared").vm("vm-01", "esxi-001", "locked").passes(passes)


def unlocked_early(host: str = "safe") -> Story:
    """Its key comes a few seconds after a boot without it: its host still tries to start it."""
    story = dark(persistence=False).host("esxi-001", "prepared").vm("vm-01", "esxi-001", "locked")
    story.passes(5).heal("wan").passes(5)
    return story.host("esxi-001", host).vm("vm-01", "esxi-001", "off")


def asked_to_persist(story: Story, end: str = "ok", action: str = "enable") -> Story:
    """Somebody turns persistence on at the console of esxi-001; it goes dark at once."""
    story.op("invoke", "esxi-001", f"esx.persistence.{action}", n=8, action="keep")
    if end:
        story.op(end, "esxi-001", f"esx.persistence.{action}", n=8, action="keep")
    story.persistence = True
    return story.cut().fault("dark", "host.power_loss", nodes=["esxi-001"]).boot("esxi-001")


def other_provider_dark(cut: str = "kms-2", **knobs: Any) -> Story:
    """The host key is of a provider that is not the default one: one of both is cut off."""
    story = Story(persistence=False, two=True, **knobs).cut("wan", ("vcenter", cut)).passes(10)
    story.fault("dark", "host.power_loss", nodes=["esxi-002"])
    return story.boot("esxi-002").heal("dark")


def host_key_gone(**knobs: Any) -> Story:
    """The host key is destroyed at its source, and a host boots."""
    story = Story(persistence=False, **knobs)
    story.fault("gone", "kms.key_state", keys=["h"], servers=["kms"], state="destroy").passes(10)
    return story.fault("dark", "host.power_loss", nodes=["esxi-001"]).boot("esxi-001").heal("dark")


GOOD: dict[str, Callable[[], Story]] = {
    "its key came within the window, and it was started": lambda: (
        unlocked_early().passes(10).vm("vm-01", "esxi-001", "running").passes(60)
    ),
    "its key came after the window, and nobody started it": lambda: (
        locked(dark(persistence=False))
        .passes(30)
        .heal("wan")
        .passes(5)
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(100)
    ),
    "its key came, and it was being powered off when its host booted": lambda: (
        Story(persistence=False)
        .cut()
        .op("invoke", "vm-01")
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .heal("wan")
        .op("ok", "vm-01")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "enabled with keys in the cache, and loaded from the store": lambda: up_and_running(enabled()),
    "keys that were cached before are not stored, by the knob": lambda: down_and_locked(
        enabled(persist_on_enable=False)
    ),
    "keys that were cached before are saved each hour": lambda: down_and_locked(
        enabled(config_save="hourly")
    ),
    "enabled, and dark before anybody looked": lambda: up_and_running(
        asked_to_persist(Story(persistence=False))
    ),
    "enabled or not, nobody knows: it may be": lambda: up_and_running(
        asked_to_persist(Story(persistence=False), "info")
    ),
    "enabled or not, nobody knows: it may not be": lambda: (
        asked_to_persist(Story(persistence=False), "info")
        .host("esxi-001", "prepared", persistence=False)
        .vm("vm-01", "esxi-001", "locked")
        .passes(60)
    ),
    "off and on again, and dark in between": lambda: up_and_running(
        asked_to_persist(Story(persistence=True), "", "off_on")
    ),
    "keys of a deleted provider leave after the grace": lambda: (
        deleted(40).vm("vm-01", "esxi-001", "locked", wanted=False).passes(200)
    ),
    "keys of a deleted provider stay, by the knob": lambda: deleted(evict_on_provider_delete=False),
    "evicted only when vCenter comes to the host": lambda: (
        Story(persistence=True, **GRACE)
        .op("invoke", "vm-01", "vm.off")
        .op("ok", "vm-01", "vm.off")
        .vm("vm-01", "esxi-001", "off", wanted=False)
        .fault("far", "link.cut", a=["vcenter"], b=["esxi-001"], dir="both")
        .fault("del", "provider.delete", provider="p", vcenter="vcenter")
        .passes(300)
    ),
    "a host keeps its mode when its provider is gone": lambda: (
        deleted(120).vm("vm-01", "esxi-001", "locked", wanted=False).passes(100)
    ),
    "it ran while its key was taken away, and did not start again": lambda: (
        Story(persistence=True, **GRACE)
        .fault("del", "provider.delete", provider="p", vcenter="vcenter")
        .passes(30)
        .cut()
        .heal("del")
        .passes(40)
        .op("invoke", "vm-01")
        .op("info", "vm-01", off=True, error="EncryptionKeyRequired")
        .vm("vm-01", "esxi-001", "locked", wanted=False)
        .passes(100)
    ),
    "a host that left maintenance started nothing at its boot": lambda: (
        dark(persistence=True)
        .host("esxi-001", "safe", maintenance=True)
        .vm("vm-01", "esxi-001", "off")
        .passes(20)
        .host("esxi-001", "safe")
        .passes(100)
    ),
    "in maintenance before anybody looked": lambda: (
        Story(persistence=True)
        .op("invoke", "esxi-001", "host.enter-maintenance", n=8, action="rest")
        .op("ok", "esxi-001", "host.enter-maintenance", n=8, action="rest")
        .cut()
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .op("invoke", "esxi-001", "host.exit-maintenance", n=9, action="go")
        .op("ok", "esxi-001", "host.exit-maintenance", n=9, action="go")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "off")
        .passes(100)
    ),
    "another host key, of the default provider": lambda: (
        other_provider_dark().host("esxi-002", "safe").vm("vm-02", "esxi-002", "locked").passes(60)
    ),
    "no other host key, and locked": lambda: (
        other_provider_dark(host_key_renewal=False)
        .host("esxi-002", "prepared")
        .vm("vm-02", "esxi-002", "locked")
        .passes(60)
    ),
    "the key server of the other provider is away": lambda: (
        other_provider_dark("kms")
        .host("esxi-002", "safe")
        .vm("vm-02", "esxi-002", "running")
        .passes(60)
    ),
    "a host key that is gone is made anew": lambda: up_and_running(host_key_gone()),
    "a host key that is gone stays gone, by the knob": lambda: (
        host_key_gone(host_key_renewal=False)
        .host("esxi-001", "prepared")
        .vm("vm-01", "esxi-001", "off")
        .passes(60)
    ),
    "a VM whose key was destroyed, and another whose was not": lambda: (
        Story(persistence=False)
        .fault("gone", "kms.key_state", vms=["vm-02"], servers=["kms"], state="destroy")
        .passes(10)
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
    "a host without persistence, whose store was kept": lambda: (
        Story(persistence=True)
        .host("esxi-001", "safe", persistence=False)
        .passes(10)
        .host("esxi-001", "safe")
        .cut()
        .fault("dark", "host.power_loss", nodes=["esxi-001"])
        .boot("esxi-001")
        .heal("dark")
        .host("esxi-001", "safe")
        .vm("vm-01", "esxi-001", "running")
        .passes(60)
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "its key came within the window, and it was not started": (
        lambda: unlocked_early().passes(80),
        "vm-01",
        "R3",
        "off",
    ),
    "enabled with keys in the cache, and they were not stored": (
        lambda: down_and_locked(enabled()),
        "esxi-001",
        "R35",
        "prepared",
    ),
    "not stored by the knob, and loaded": (
        lambda: up_and_running(
            asked_to_persist(Story(persistence=False, persist_on_enable=False), action="disable")
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
    "enabled, dark before anybody looked, and lost": (
        lambda: down_and_locked(asked_to_persist(Story(persistence=False))),
        "esxi-001",
        "R35",
        "prepared",
    ),
    "keys of a deleted provider stay for ever": (
        lambda: deleted(300),
        "vm-01",
        "R23",
        "off",
    ),
    "evicted, against the knob": (
        lambda: (
            deleted(100, evict_on_provider_delete=False)
            .vm("vm-01", "esxi-001", "locked", wanted=False)
            .passes(60)
        ),
        "vm-01",
        "R25",
        "locked",
    ),
    "evicted, and loaded from the store at the next boot": (
        lambda: (
            deleted(60)
            .vm("vm-01", "esxi-001", "locked", wanted=False)
            .passes(200)
            .fault("dark", "host.power_loss", nodes=["esxi-002"])
            .boot("esxi-002")
            .heal("dark")
            .host("esxi-002", "safe")
            .vm("vm-02", "esxi-002", "locked")
            .passes(60)
        ),
        "esxi-002",
        "R24",
        "safe",
    ),
    "the default provider makes no other host key, against the knob": (
        lambda: (
            other_provider_dark(host_key_renewal=False)
            .host("esxi-002", "safe")
            .vm("vm-02", "esxi-002", "locked")
            .passes(60)
        ),
        "esxi-002",
        "R5",
        "safe",
    ),
    "a VM under the provider that answers is locked": (
        lambda: (
            other_provider_dark("kms")
            .host("esxi-002", "safe")
            .vm("vm-02", "esxi-002", "locked")
            .passes(500)
        ),
        "vm-02",
        "R3",
        "locked",
    ),
    "a VM under the provider that is away runs": (
        lambda: (
            other_provider_dark()
            .host("esxi-002", "safe")
            .vm("vm-02", "esxi-002", "running")
            .passes(60)
        ),
        "vm-02",
        "R6",
        "running",
    ),
    "a host key that is gone is made anew, against the knob": (
        lambda: (
            host_key_gone(host_key_renewal=False)
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "running")
            .passes(60)
        ),
        "esxi-001",
        "R30",
        "safe",
    ),
    "off when its host is long out of maintenance, and booted again": (
        lambda: (
            dark(persistence=True)
            .host("esxi-001", "safe", maintenance=True)
            .vm("vm-01", "esxi-001", "off")
            .passes(20)
            .host("esxi-001", "safe")
            .passes(10)
            .fault("again", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("again")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "off")
            .passes(60)
        ),
        "vm-01",
        "R36",
        "off",
    ),
}

OUTAGES = {
    "enabled with keys in the cache, and they were not stored",
    "enabled, dark before anybody looked, and lost",
    "its key came within the window, and it was not started",
    "evicted, against the knob",
    "a VM under the provider that answers is locked",
    "off when its host is long out of maintenance, and booted again",
}
