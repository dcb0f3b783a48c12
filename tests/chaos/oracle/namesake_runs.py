"""Runs in which a native provider is made again under its old name, with another key derivation key
(NKP-18), or of a backup. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.acts import act
from tests.chaos.oracle.histories import Story
from tests.chaos.oracle.knob_runs import down_and_locked, up_and_running
from tests.chaos.oracle.native_runs import ONE, again, away, native, perhaps_told, powered


def made_anew(story: Story | None = None, *, seconds: int = 100) -> Story:
    """The provider is exported, deleted, and made again; then so long goes by."""
    story = native() if story is None else story
    act(story, "provider.export", 11, provider="p", backup="right")
    act(story, "provider.delete", 12, provider="p").passes(5)
    return act(story, "provider.add-native", 13, provider="p", default=True).passes(seconds)


def booted() -> Story:
    """And esxi-001 boots."""
    return again(made_anew())


def right_again(story: Story, seconds: int = 60) -> Story:
    """The namesake is deleted, and the backup of the right one imported."""
    act(story, "provider.delete", 14, provider="p").passes(5)
    return act(story, "provider.import", 15, backup="right", default=True).passes(seconds)


def rekeyed() -> Story:
    """Host and VM are under keys that were made of the new one."""
    story = act(made_anew(), "provider.export", 14, provider="p", backup="namesake")
    story.host_key, story.keks = "p/h9", {**story.keks, "vm-01": "p/k9"}
    story.op("invoke", "vm-01", "vm.recrypt", n=16)
    story.op("ok", "vm-01", "vm.recrypt", n=16, key="k9", provider="p")
    story.host(ONE, "safe").host("esxi-002", "safe")
    return story.vm("vm-01", ONE, "running").passes(60)


def unmade(story: Story) -> Story:
    """The provider is deleted, and making another one is refused."""
    act(story, "provider.delete", 12, provider="p").passes(5)
    return act(story, "provider.add-native", 13, "fail", provider="p").passes(100)


GOOD: dict[str, Callable[[], Story]] = {
    "namesake: nothing fails at first": lambda: made_anew(native().cut("it", ("kms", "kms-2"))),
    "namesake: made while its host was away, which is told later": lambda: down_and_locked(
        again(
            made_anew(away())
            .heal("away")
            .passes(100)
            .cut("away again", ("vcenter", ONE))
            .passes(100)
        )
    ),
    "namesake: neither host nor VM has its key after the boot": lambda: down_and_locked(booted()),
    "namesake: what nobody has tried is not locked": lambda: (
        powered(made_anew(), "vm.off", "off")
        .fault("dark", "host.power_loss", nodes=[ONE])
        .boot(ONE)
        .heal("dark")
        .host(ONE, "prepared")
        .vm("vm-01", ONE, "off", wanted=False)
        .passes(60)
    ),
    "namesake: off and on, from the cache": lambda: powered(
        powered(made_anew(native().cut("other", ("kms", "kms-2"))), "vm.off", "off").passes(60),
        "vm.on",
        "running",
        4,
    ).passes(60),
    "namesake: a host that may have been told, and was not": lambda: up_and_running(
        again(perhaps_told(made_anew(away())))
    ),
    "namesake: a host that was not told has the right one": lambda: up_and_running(
        again(made_anew(away()))
    ),
    "namesake: the right backup is imported, and all is well": lambda: (
        right_again(down_and_locked(booted()), 10)
        .host(ONE, "safe")
        .vm("vm-01", ONE, "off")
        .passes(100)
    ),
    "namesake: what was made since is as good": lambda: up_and_running(again(rekeyed())),
    "namesake: it was refused, and the provider is gone": lambda: down_and_locked(
        again(unmade(native()))
    ),
    "namesake: nobody knows whether it was made, and it was": lambda: down_and_locked(
        again(
            act(
                act(native(), "provider.delete", 12, provider="p").passes(5),
                "provider.add-native",
                13,
                "info",
                provider="p",
            ).passes(100)
        )
    ),
    "namesake: the deletion was refused, and nothing has changed": lambda: up_and_running(
        again(act(native(), "provider.delete", 12, "fail", provider="p").passes(100))
    ),
    "namesake: nobody knows whether it was deleted, and it was not": lambda: up_and_running(
        again(act(native(), "provider.delete", 12, "info", provider="p").passes(100))
    ),
    "namesake: nobody knows whether it was deleted, and it was": lambda: down_and_locked(
        again(act(native(), "provider.delete", 12, "info", provider="p").passes(100))
    ),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "namesake: safe after the boot": (
        lambda: booted().host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R65",
        "safe",
    ),
    "namesake: running after the boot": (
        lambda: booted().host(ONE, "prepared").vm("vm-01", ONE, "running").passes(60),
        "vm-01",
        "R65",
        "running",
    ),
    "namesake: locked while its key is in the cache": (
        lambda: (
            powered(made_anew(native().cut("other", ("kms", "kms-2"))), "vm.off", "off")
            .vm("vm-01", ONE, "locked", wanted=False)
            .passes(60)
        ),
        "vm-01",
        "R65",
        "locked",
    ),
    "namesake: a host that was not told is not safe": (
        lambda: down_and_locked(again(made_anew(away()))),
        ONE,
        "R55",
        "prepared",
    ),
    "namesake: the right backup is imported, and it is locked for ever": (
        lambda: (
            right_again(down_and_locked(booted()), 10)
            .host(ONE, "safe")
            .vm("vm-01", ONE, "locked")
            .passes(300)
        ),
        "vm-01",
        "R55",
        "locked",
    ),
    "namesake: what was made since is gone after the boot": (
        lambda: down_and_locked(again(rekeyed())),
        ONE,
        "R55",
        "prepared",
    ),
    "namesake: it was refused, and the host is safe": (
        lambda: again(unmade(native())).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R64",
        "safe",
    ),
    "namesake: the deletion was refused, and the host is not safe": (
        lambda: down_and_locked(
            again(act(native(), "provider.delete", 12, "fail", provider="p").passes(100))
        ),
        ONE,
        "R55",
        "prepared",
    ),
}

OUTAGES = {
    "namesake: locked while its key is in the cache",
    "namesake: a host that was not told is not safe",
    "namesake: the right backup is imported, and it is locked for ever",
    "namesake: what was made since is gone after the boot",
    "namesake: the deletion was refused, and the host is not safe",
}
