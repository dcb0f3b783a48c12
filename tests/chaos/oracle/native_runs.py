"""Runs of labs with a native provider: which host has its key derivation key, and what was derived
of it. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.histories import Story
from tests.chaos.oracle.knob_runs import GRACE, down_and_locked, up_and_running

ONE = "esxi-001"


def native(*, persistence: bool = False, **more: Any) -> Story:
    return Story(persistence=persistence, **{"native": "p", **GRACE, **more})


def again(story: Story, id: str = "dark") -> Story:
    """esxi-001 loses its power, and is up again."""
    return story.fault(id, "host.power_loss", nodes=[ONE]).boot(ONE).heal(id)


def away(**more: Any) -> Story:
    """vCenter does not reach esxi-001."""
    return native(**more).cut("away", ("vcenter", ONE)).passes(100)


def deleted(story: Story, seconds: int = 200) -> Story:
    """The provider is deleted for so long."""
    return story.fault("del", "provider.delete", provider="p", vcenter="vcenter").passes(seconds)


def powered(story: Story, op: str, seen: str, n: int = 3) -> Story:
    """Somebody turns vm-01 off or on, and it is seen so."""
    story.op("invoke", "vm-01", op, n=n).op("ok", "vm-01", op, n=n)
    return story.vm("vm-01", ONE, seen, wanted=op == "vm.on").passes(5)


def gone() -> Story:
    """Deleted, and esxi-001 has booted since: it has neither the KDK nor a key of it."""
    return again(deleted(native())).host(ONE, "prepared").vm("vm-01", ONE, "locked").passes(60)


def not_told(**more: Any) -> Story:
    """Deleted while vCenter does not reach esxi-001."""
    return deleted(away(**more))


def perhaps_told(story: Story) -> Story:
    """vCenter reaches esxi-001 for three seconds."""
    return story.heal("away").passes(3).cut("away again", ("vcenter", ONE))


def perhaps_there(seconds: int = 3) -> Story:
    """Imported again, and vCenter reaches esxi-001 for so long."""
    return gone().heal("del").passes(seconds).cut("away", ("vcenter", ONE))


def up_in_doubt() -> Story:
    """It had its KDK after a boot, though the deletion may have been pushed before."""
    return up_and_running(again(perhaps_told(not_told())))


def untouched(**more: Any) -> Story:
    """esxi-001 has booted and vm-01 is off: its key need not have been derived in this boot."""
    return powered(again(native(**more)).host(ONE, "safe"), "vm.off", "off").passes(60)


def left_out() -> Story:
    """The provider is for hosts with a TPM, which esxi-001 is without; its VM is off."""
    story = native(mode="NONE", without_tpm=(ONE,))
    return powered(again(story).host(ONE, "prepared"), "vm.off", "off")


def beside(cut: tuple[str, str]) -> Story:
    """A standard provider p and a native one q, which host keys and vm-02 are of: esxi-002 boots
    while a link is cut."""
    story = native(two=True, native="q").cut("one", cut).passes(100)
    return story.fault("dark", "host.power_loss", nodes=["esxi-002"]).boot("esxi-002").heal("dark")


GOOD: dict[str, Callable[[], Story]] = {
    "native: it asks nobody after a power loss": lambda: up_and_running(again(away())),
    "native: without a TPM either": lambda: up_and_running(again(away(mode="NONE"))),
    "native: twice in the dark": lambda: up_and_running(
        again(up_and_running(again(away())), "twice")
    ),
    "native: vCenter is down": lambda: up_and_running(
        again(native().fault("down", "vcenter.down", nodes=["vcenter"], clients=[]).passes(40))
    ),
    "native: what runs goes on when the provider is deleted": lambda: deleted(native(), 300),
    "native: deleted, and locked after the boot": gone,
    "native: deleted, and off from its cache for the grace": lambda: powered(
        powered(
            deleted(native(provider_delete_grace_s=300.0), 100),
            "vm.off",
            "off",
        ).passes(40),
        "vm.on",
        "running",
        4,
    ).passes(40),
    "native: deleted, evicted, and locked when it is off": lambda: (
        powered(deleted(native()), "vm.off", "off").vm("vm-01", ONE, "locked").passes(60)
    ),
    "native: not derived in this boot, and locked with the deletion": lambda: (
        deleted(untouched(provider_delete_grace_s=3000.0), 10)
        .vm("vm-01", ONE, "locked", wanted=False)
        .passes(200)
    ),
    "native: derived in this boot, and in the cache after the deletion": lambda: powered(
        deleted(powered(untouched(provider_delete_grace_s=3000.0), "vm.on", "running", 5), 200),
        "vm.off",
        "off",
        6,
    ).passes(60),
    "native: deleted, and the host was not told": lambda: up_and_running(again(not_told())),
    "native: deleted, the host may have been told, and was": lambda: down_and_locked(
        again(perhaps_told(not_told()))
    ),
    "native: deleted, the host may have been told, and was not": up_in_doubt,
    "native: deleted, told late, and locked then": lambda: (
        perhaps_told(
            deleted(
                untouched(provider_delete_grace_s=3000.0).cut("away", ("vcenter", ONE)).passes(100)
            )
        )
        .passes(100)
        .vm("vm-01", ONE, "locked", wanted=False)
        .passes(60)
    ),
    "native: derived without vCenter, and in the cache when it is told of the deletion": lambda: (
        powered(
            up_and_running(again(not_told(provider_delete_grace_s=3000.0)))
            .heal("away")
            .passes(200),
            "vm.off",
            "off",
        ).passes(60)
    ),
    "native: imported again, and unlocked": lambda: (
        gone().heal("del").passes(60).host(ONE, "safe").vm("vm-01", ONE, "off").passes(300)
    ),
    "native: imported again, and away from the next boot on": lambda: up_and_running(
        again(
            gone()
            .heal("del")
            .passes(20)
            .host(ONE, "safe")
            .vm("vm-01", ONE, "off")
            .passes(200)
            .cut("away", ("vcenter", ONE)),
            "dark again",
        )
    ),
    "native: imported, not there yet, and prepared after the boot": lambda: down_and_locked(
        again(perhaps_there(50), "dark again")
    ),
    "native: for hosts with a TPM, and this one has none": lambda: left_out().passes(200),
    "native: persisted keys are no keys of it": lambda: down_and_locked(
        again(deleted(native(persistence=True)))
    ),
    "native: beside a standard one whose key server is away": lambda: (
        beside(("vcenter", "kms"))
        .host("esxi-002", "safe")
        .vm("vm-02", "esxi-002", "running")
        .passes(60)
    ),
    "native: deleted, and another provider makes the host key": lambda: (
        native(two=True, native="q")
        .fault("del", "provider.delete", provider="q", vcenter="vcenter")
        .passes(200)
        .fault("dark", "host.power_loss", nodes=["esxi-002"])
        .boot("esxi-002")
        .heal("dark")
        .host("esxi-002", "safe")
        .vm("vm-02", "esxi-002", "locked")
        .passes(60)
        .host("esxi-002", "safe", key="p/new")
        .passes(60)
    ),
}


BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "native: prepared after a boot, and safe after another without vCenter": (
        lambda: (
            again(
                again(perhaps_there().op("ok", "vm-01", "vm.destroy", n=9), "second")
                .host(ONE, "prepared")
                .passes(60),
                "third",
            )
            .host(ONE, "safe")
            .passes(60)
        ),
        ONE,
        "R56",
        "safe",
    ),
    "native: safe after a boot, and prepared after another without vCenter": (
        lambda: down_and_locked(again(up_in_doubt(), "second")),
        ONE,
        "R55",
        "prepared",
    ),
    "native: imported again long ago, not safe, and vCenter is away": (
        lambda: gone().heal("del").passes(70).cut("away", ("vcenter", ONE)).passes(60),
        ONE,
        "R55",
        "prepared",
    ),
    "native: not safe after a power loss": (
        lambda: down_and_locked(again(away())),
        ONE,
        "R55",
        "prepared",
    ),
    "native: safe after a power loss, and its VM is locked": (
        lambda: again(away()).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        "vm-01",
        "R55",
        "locked",
    ),
    "native: nothing is wrong but its power, and it is not safe": (
        lambda: again(native()).host(ONE, "prepared").vm("vm-01", ONE, "running").passes(60),
        ONE,
        "R55",
        "prepared",
    ),
    "native: locked though nobody has taken anything away": (
        lambda: away().vm("vm-01", ONE, "locked").passes(40),
        "vm-01",
        "R1",
        "locked",
    ),
    "native: deleted, and safe after the boot": (
        lambda: again(deleted(native())).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R64",
        "safe",
    ),
    "native: deleted, and running after the boot": (
        lambda: (
            again(deleted(native())).host(ONE, "prepared").vm("vm-01", ONE, "running").passes(60)
        ),
        "vm-01",
        "R64",
        "running",
    ),
    "native: deleted, persisted, and running after the boot": (
        lambda: (
            again(deleted(native(persistence=True)))
            .host(ONE, "prepared")
            .vm("vm-01", ONE, "running")
            .passes(60)
        ),
        "vm-01",
        "R64",
        "running",
    ),
    "native: evicted, and not locked": (
        lambda: powered(deleted(native()), "vm.off", "off").passes(60),
        "vm-01",
        "R64",
        "off",
    ),
    "native: deleted, and running after the boot within the grace": (
        lambda: (
            again(deleted(native(provider_delete_grace_s=3000.0)))
            .host(ONE, "prepared")
            .vm("vm-01", ONE, "running")
            .passes(60)
        ),
        "vm-01",
        "R64",
        "running",
    ),
    "native: locked within the grace": (
        lambda: (
            powered(deleted(native(provider_delete_grace_s=3000.0)), "vm.off", "off")
            .vm("vm-01", ONE, "locked", wanted=False)
            .passes(60)
        ),
        "vm-01",
        "R25",
        "locked",
    ),
    "native: deleted, the host was not told, and it is not safe": (
        lambda: down_and_locked(again(not_told())),
        ONE,
        "R55",
        "prepared",
    ),
    "native: imported again, and not safe": (
        lambda: gone().heal("del").passes(300),
        ONE,
        "R56",
        "prepared",
    ),
    "native: imported again, and locked for ever": (
        lambda: gone().heal("del").host(ONE, "safe").passes(300),
        "vm-01",
        "R55",
        "locked",
    ),
    "native: imported again, and gone after the next boot": (
        lambda: down_and_locked(
            again(
                gone()
                .heal("del")
                .passes(20)
                .host(ONE, "safe")
                .vm("vm-01", ONE, "off")
                .passes(200)
                .cut("away", ("vcenter", ONE)),
                "dark again",
            )
        ),
        ONE,
        "R55",
        "prepared",
    ),
    "native: for hosts with a TPM, and this one is safe without": (
        lambda: left_out().host(ONE, "safe").passes(60),
        ONE,
        "R57",
        "safe",
    ),
    "native: beside a standard one whose key server is away, and it is not safe": (
        lambda: (
            beside(("vcenter", "kms"))
            .host("esxi-002", "prepared")
            .vm("vm-02", "esxi-002", "locked")
            .passes(60)
        ),
        "esxi-002",
        "R55",
        "prepared",
    ),
}

OUTAGES = {
    "native: not safe after a power loss",
    "native: safe after a power loss, and its VM is locked",
    "native: locked though nobody has taken anything away",
    "native: locked within the grace",
    "native: deleted, the host was not told, and it is not safe",
    "native: imported again, and not safe",
    "native: imported again long ago, not safe, and vCenter is away",
    "native: safe after a boot, and prepared after another without vCenter",
    "native: imported again, and locked for ever",
    "native: imported again, and gone after the next boot",
    "native: beside a standard one whose key server is away, and it is not safe",
}
