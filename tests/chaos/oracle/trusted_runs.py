"""Runs of labs with a trusted provider: an attested host has its keys opened by a Key Provider
Service, and nobody brings them. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.chaos.oracle.histories import Story
from tests.chaos.oracle.knob_runs import down_and_locked, up_and_running

ONE = "esxi-001"
AS, KPS, KMS = (ONE, "as"), (ONE, "kps"), ("kps", "kms")
"""Links that a trusted host needs after its boot."""


def trusted(*, persistence: bool = False, **more: Any) -> Story:
    return Story(persistence=persistence, trusted=True, **more)


def away(link: tuple[str, str], **more: Any) -> Story:
    return trusted(**more).cut("away", link).passes(60)


def again(story: Story, id: str = "dark") -> Story:
    """esxi-001 loses its power, and is up again."""
    return story.fault(id, "host.power_loss", nodes=[ONE]).boot(ONE).heal(id)


def dark(link: tuple[str, str], **more: Any) -> Story:
    """It boots while the link is cut."""
    return again(away(link, **more))


def by_its_token(story: Story) -> Story:
    """It was attested, and no key came; now one can, and nobody attests it any more."""
    return story.cut("as is away", AS).passes(5).heal("away").passes(20)


def strange() -> Story:
    """It has another TPM, and then its own again."""
    story = trusted().fault("swap", "tpm.swap", nodes=[ONE]).boot(ONE, passes=0)
    story.node(ONE, "halted").passes(20).boot(ONE).heal("swap")
    return story.host(ONE, "prepared").vm("vm-01", ONE, "locked")


def cold() -> Story:
    """Its VM is off after the boot, its keys come, and nobody has asked for the key of the VM."""
    story = again(trusted()).host(ONE, "safe").vm("vm-01", ONE, "off").passes(2)
    return story.cut("as", AS).cut("kps", KPS).passes(3)


GOOD: dict[str, Callable[[], Story]] = {
    "trusted: vCenter is away, and it asks for itself": lambda: up_and_running(
        dark(("vcenter", ONE))
    ),
    "trusted: nobody attests it": lambda: down_and_locked(dark(AS)),
    "trusted: no service opens its keys": lambda: down_and_locked(dark(KPS)),
    "trusted: its services reach no key server": lambda: down_and_locked(dark(KMS)),
    "trusted: no key server, and they hold the primary key": lambda: up_and_running(
        dark(KMS, kps_primary_key_cache=True)
    ),
    "trusted: nobody attests it, and its keys are persisted": lambda: up_and_running(
        dark(AS, persistence=True)
    ),
    "trusted: nobody attests it, and its VM is not locked, for nobody has asked": lambda: (
        dark(AS).host(ONE, "prepared").vm("vm-01", ONE, "off").passes(100)
    ),
    "trusted: it has the keys, and may not use them": lambda: (
        dark(AS, persistence=True, persist_overrides_attestation="never")
        .host(ONE, "safe")
        .vm("vm-01", ONE, "off")
        .passes(100)
    ),
    "trusted: what runs goes on": lambda: away(AS).cut("kps", KPS).cut("kms", KMS).passes(200),
    "trusted: the services come back": lambda: (
        down_and_locked(dark(AS))
        .heal("away")
        .passes(80)
        .host(ONE, "safe")
        .vm("vm-01", ONE, "off")
        .passes(100)
    ),
    "trusted: attested, and served when nobody attests it any more": lambda: (
        by_its_token(dark(KPS).host(ONE, "prepared").vm("vm-01", ONE, "locked").passes(20))
        .host(ONE, "safe")
        .vm("vm-01", ONE, "off")
        .passes(20)
        .cut("kps is away", KPS)
        .passes(60)
    ),
    "trusted: another TPM once, and not known": lambda: strange().passes(300),
    "trusted: off, nobody has asked for its key, and locked then": lambda: (
        cold().vm("vm-01", ONE, "locked").passes(60)
    ),
    "trusted: the provider is deleted": lambda: down_and_locked(
        again(
            trusted().fault("del", "provider.delete", provider="p", vcenter="vcenter").passes(200)
        )
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "trusted: nothing is wrong but its power, and it is not safe": (
        lambda: down_and_locked(again(trusted())),
        ONE,
        "R40",
        "prepared",
    ),
    "trusted: vCenter is away, and it did not ask for itself": (
        lambda: down_and_locked(dark(("vcenter", ONE))),
        ONE,
        "R40",
        "prepared",
    ),
    "trusted: nobody attests it, and it is safe": (
        lambda: dark(AS).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R48",
        "safe",
    ),
    "trusted: no service opens its keys, and it is safe": (
        lambda: dark(KPS).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R48",
        "safe",
    ),
    "trusted: its services reach no key server, and it is safe": (
        lambda: dark(KMS).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R44",
        "safe",
    ),
    "trusted: nobody attests it, and its VM runs": (
        lambda: dark(AS).host(ONE, "prepared").vm("vm-01", ONE, "running").passes(60),
        "vm-01",
        "R48",
        "running",
    ),
    "trusted: its keys can be had, and its VM is not started": (
        lambda: again(trusted()).host(ONE, "safe").vm("vm-01", ONE, "off").passes(100),
        "vm-01",
        "R40",
        "off",
    ),
    "trusted: the services are back for long, and it is not safe": (
        lambda: down_and_locked(dark(AS)).heal("away").passes(300),
        ONE,
        "R40",
        "prepared",
    ),
    "trusted: powered on without an attestation": (
        lambda: (
            down_and_locked(dark(AS))
            .op("invoke", "vm-01", "vm.on", n=7)
            .passes(2)
            .op("ok", "vm-01", "vm.on", n=7)
            .passes(1)
        ),
        "vm-01",
        "R48",
        "started",
    ),
    "trusted: it has the keys, may not use them, and does": (
        lambda: (
            dark(AS, persistence=True, persist_overrides_attestation="never")
            .host(ONE, "safe")
            .vm("vm-01", ONE, "running")
            .passes(100)
        ),
        "vm-01",
        "R49",
        "running",
    ),
    "trusted: persisted, and not safe": (
        lambda: down_and_locked(dark(AS, persistence=True)),
        ONE,
        "R35",
        "prepared",
    ),
    "trusted: a VM that runs goes down": (
        lambda: away(AS).vm("vm-01", ONE, "off").passes(60),
        "vm-01",
        "R",
        "off",
    ),
}

OUTAGES = {
    "trusted: vCenter is away, and it did not ask for itself",
    "trusted: persisted, and not safe",
    "trusted: nothing is wrong but its power, and it is not safe",
    "trusted: its keys can be had, and its VM is not started",
    "trusted: a VM that runs goes down",
}
