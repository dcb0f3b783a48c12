"""Runs of labs whose hosts have an encrypted vSAN: they get their host key themselves (VSAN-03)."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.histories import Story

BOTH = ("esxi-001", "esxi-002")


def rebooted(*cuts: str, vsan: tuple[str, ...] = BOTH) -> Story:
    """The key server is cut off from these, and esxi-001 loses its power."""
    story = Story(persistence=False, vsan=vsan)
    for number, node in enumerate(cuts):
        story.cut(f"cut-{number}", (node, "kms"))
    story.passes(10).fault("dark", "host.power_loss", nodes=["esxi-001"])
    return story.boot("esxi-001").heal("dark")


def ended(story: Story, crypto: str) -> Story:
    story.host("esxi-001", crypto).vm("vm-01", "esxi-001", "locked")
    return story.passes(60)


GOOD: dict[str, Callable[[], Story]] = {
    "safe by its own key, and its VM is locked": lambda: ended(rebooted("vcenter"), "safe"),
    "cut off as vCenter is, and prepared": lambda: ended(
        rebooted("vcenter", "esxi-001"), "prepared"
    ),
    "safe when its own way was there again": lambda: (
        ended(rebooted("vcenter", "esxi-001"), "prepared")
        .heal("cut-1")
        .host("esxi-001", "safe")
        .passes(60)
    ),
    "it has stayed safe, though its own way is gone now": lambda: (
        ended(rebooted("vcenter"), "safe").cut("later", ("esxi-001", "kms")).passes(60)
    ),
}
BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "safe, and nobody could give it its key": (
        lambda: ended(rebooted("vcenter", "esxi-001"), "safe"),
        "esxi-001",
        "R5",
        "safe",
    ),
    "safe by its own key, and it has no vSAN": (
        lambda: ended(rebooted("vcenter", vsan=("esxi-002",)), "safe"),
        "esxi-001",
        "R5",
        "safe",
    ),
    "safe by a way of the boot before": (
        lambda: (
            ended(rebooted("vcenter"), "safe")
            .cut("later", ("esxi-001", "kms"))
            .passes(10)
            .fault("dark-again", "host.power_loss", nodes=["esxi-001"])
            .boot("esxi-001")
            .heal("dark-again")
            .host("esxi-001", "safe")
            .vm("vm-01", "esxi-001", "locked")
            .passes(60)
        ),
        "esxi-001",
        "R5",
        "safe",
    ),
}
