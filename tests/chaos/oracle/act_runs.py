"""Runs in which administrators do something else than powering VMs: with vCenter, keys, disks,
hosts and a Trust Authority. Good ones, and bad ones as in ``bad_runs``."""

from __future__ import annotations

from collections.abc import Callable

from tests.chaos.oracle.acts import act
from tests.chaos.oracle.histories import Story, dark
from tests.chaos.oracle.knob_runs import GRACE, down_and_locked, up_and_running
from tests.chaos.oracle.native_runs import ONE, again, native, powered
from tests.chaos.oracle.trusted_runs import trusted

BOTH = (ONE, "esxi-002")


def standard(*, persistence: bool = False) -> Story:
    return Story(persistence=persistence, **GRACE)


# ---- vCenter ------------------------------------------------------------------------------------


def restored(end: str = "ok") -> Story:
    """vCenter is put back to before provider r, which the key of vm-01 is derived of by now."""
    story = act(native(), "vcenter.backup", 11, backup="monday").passes(5)
    act(story, "provider.add-native", 12, provider="r").passes(2)
    act(story, "provider.export", 13, provider="r", backup="lost").passes(2)
    story.keks = {**story.keks, "vm-01": "r/k7"}
    story.op("invoke", "vm-01", "vm.recrypt", n=14)
    story.op("ok", "vm-01", "vm.recrypt", n=14, key="k7", provider="r")
    story.vm("vm-01", ONE, "running").passes(30)
    return act(story, "vcenter.restore", 15, end, backup="monday").passes(100)


def put_back() -> Story:
    """vCenter is put back to what it knows anyway."""
    story = act(standard(), "vcenter.backup", 11, backup="monday").passes(5)
    return act(story, "vcenter.restore", 13, backup="monday").passes(100)


def older(unlocked: str = "") -> Story:
    """vCenter is put back to before a recrypt of vm-01, whose host boots then; it is unlocked
    before, which ends so."""
    story = act(standard(), "vcenter.backup", 11, backup="monday").passes(5)
    story.keks = {**story.keks, "vm-01": "p/k7"}
    story.op("invoke", "vm-01", "vm.recrypt", n=12)
    story.op("ok", "vm-01", "vm.recrypt", n=12, key="k7", provider="p")
    story.vm("vm-01", ONE, "running").passes(30)
    act(story, "vcenter.restore", 13, backup="monday").passes(100)
    if unlocked:
        act(story, "vm.unlock", 14, unlocked, on="vm-01")
    return again(story.passes(10))


def rebuilt(story: Story | None = None, *hosts: str) -> Story:
    """vCenter is installed anew, and these hosts are added to it."""
    story = act(native() if story is None else story, "vcenter.rebuild", 11).passes(10)
    for n, host in enumerate(hosts, 12):
        act(story, "host.add", n, on=host)
    return story.passes(100)


def added_again(end: str = "ok") -> Story:
    """And it gets its standard provider again, at the other key server. Somebody unlocks vm-01,
    which ends so; empty: nobody does."""
    story = rebuilt(standard(), *BOTH).cut()
    act(story, "provider.add", 16, provider="p", servers=["kms-2"], default=True)
    if end:
        act(story, "vm.unlock", 17, end, on="vm-01")
    return again(story.passes(100))


def left_alone(*, back: bool = False) -> Story:
    """vCenter is made to leave esxi-001 alone, which boots."""
    story = again(act(standard(), "host.disconnect", 11, on=ONE).passes(5))
    story = down_and_locked(story, 90)
    return act(story, "host.reconnect", 12, on=ONE) if back else story


# ---- keys ---------------------------------------------------------------------------------------


def removed(*, force: bool = True) -> Story:
    """vCenter is made to forget the key of vm-01."""
    story = standard().cut("other", ("kms", "kms-2"))
    return act(story, "vcenter.key.remove", 11, on="vm-01", force=force).passes(20)


def removed_and_off() -> Story:
    return powered(removed(), "vm.off", "off").vm("vm-01", ONE, "locked", wanted=False).passes(60)


def known_again() -> Story:
    return act(removed_and_off(), "vcenter.key.add", 12, on="vm-01")


def destroyed(op: str = "kms.key.destroy", end: str = "ok") -> Story:
    """The key of vm-01 is gone at its source, and its host boots."""
    story = act(standard(), op, 11, end, on="vm-01", told={"keys": ["k1"]} if end == "ok" else {})
    return again(story.passes(10))


def servers_restored() -> Story:
    """A backup of the key server is put back, which does not have the key of vm-01."""
    story = act(standard(), "kms.backup", 11, backup="monday").passes(5)
    story.op("invoke", "", "kms.restore", n=12, action="back", backup="monday").passes(5)
    story.op("ok", "", "kms.restore", n=12, action="back", keys=["k1"])
    return again(story.passes(10))


def safe_and_locked(story: Story) -> Story:
    return story.host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60)


def safe_and_off(story: Story) -> Story:
    return story.host(ONE, "safe").vm("vm-01", ONE, "off").passes(60)


# ---- disks and hosts ----------------------------------------------------------------------------


def one_disk_more(seen: str) -> Story:
    """vm-01 gets a disk under a key of its own, is started before its host tells of that, and its
    host says what it is."""
    story = powered(dark_server(), "vm.off", "off")
    act(story, "vm.add-disk", 11, "info", on="vm-01")
    story.op("invoke", "vm-01", "vm.on", n=4)
    story.op("fail", "vm-01", "vm.on", n=4, error="EncryptionKeyRequired").passes(2)
    return story.vm("vm-01", ONE, seen, wanted=False).passes(50)


def dark_server() -> Story:
    return standard().cut().passes(20)


def crypto_off() -> Story:
    """The encryption mode of esxi-001 is off after its boot; nothing runs there."""
    story = act(powered(standard(), "vm.off", "off"), "host.disable-crypto", 11, on=ONE)
    story = again(story.host(ONE, "pendingIncapable").passes(5))
    return story.host(ONE, "incapable").vm("vm-01", ONE, "off", wanted=False).passes(60)


def crypto_on() -> Story:
    return act(crypto_off(), "host.enable-crypto", 12, on=ONE)


def reinstalled(story: Story) -> Story:
    """esxi-001 is installed anew, where nobody brings it anything."""
    story.op("invoke", ONE, "host.reinstall", n=11, action="anew")
    story.boot(ONE)
    story.op("ok", ONE, "host.reinstall", n=11, action="anew")
    return story.passes(5)


def over_an_old_tpm() -> Story:
    """Its TPM was cleared, it was installed anew, sealed anew, and boots once more."""
    story = standard().fault("cleared", "tpm.clear", nodes=[ONE])
    story.boot(ONE, passes=0).node(ONE, "halted").passes(30)
    story = reinstalled(story).host(ONE, "safe").passes(20)
    act(story, "esx.command", 12, on=ONE, command="system settings encryption set --mode=TPM")
    return again(story.passes(5), "dark")


# ---- a Trust Authority --------------------------------------------------------------------------


def renewed() -> Story:
    """Its services have other certificates, which nobody has told the hosts; esxi-001 boots."""
    story = act(trusted(), "trust.renew-services", 11, services=["as"]).passes(10)
    return again(story)


def told() -> Story:
    """And now somebody has."""
    return act(down_and_locked(renewed()), "trust.remediate", 12, cluster="c").passes(100)


def imported() -> Story:
    """What esxi-001 runs was made known, after it had booted something else."""
    story = trusted().fault("build", "host.boot_measure", nodes=[ONE], build="x").passes(10)
    story = down_and_locked(again(story), 20)
    return act(story, "trust.import-base-image", 11, on=ONE).passes(100)


GOOD: dict[str, Callable[[], Story]] = {
    "restored: what vCenter does not know is gone after the boot": lambda: safe_and_locked(
        again(restored())
    ),
    "restored: nobody knows whether it was, and it was not": lambda: up_and_running(
        again(restored("info"))
    ),
    "restored: a key made since does not come by itself": lambda: safe_and_locked(older()),
    "restored: a key made since comes once somebody unlocks": lambda: up_and_running(older("ok")),
    "restored: nobody knows whether it was unlocked": lambda: up_and_running(older("info")),
    "rebuilt: hosts that nobody has added keep what they have": lambda: up_and_running(
        again(rebuilt())
    ),
    "rebuilt: added to a vCenter without the provider": lambda: down_and_locked(
        again(rebuilt(None, *BOTH))
    ),
    "rebuilt: its provider is added again, and its VM unlocked": lambda: up_and_running(
        added_again(), 100
    ),
    "rebuilt: its provider is added again, and nobody unlocks": lambda: safe_and_locked(
        added_again("")
    ),
    "rebuilt: nobody knows whether it was unlocked, and it was": lambda: up_and_running(
        added_again("info"), 100
    ),
    "rebuilt: nobody knows whether it was unlocked, and it was not": lambda: safe_and_locked(
        added_again("info")
    ),
    "left alone: nobody brings its keys": left_alone,
    "left alone: vCenter is back": lambda: safe_and_off(left_alone(back=True).passes(10)),
    "removed by force: what runs goes on": lambda: removed().passes(60),
    "removed by force: locked when it is off": removed_and_off,
    "removed by force: vCenter knows the key again": lambda: (
        known_again().passes(5).vm("vm-01", ONE, "off", wanted=False).passes(60)
    ),
    "not removed, for it is in use": lambda: powered(removed(force=False), "vm.off", "off").passes(
        60
    ),
    "destroyed by an operator: locked after the boot": lambda: safe_and_locked(destroyed()),
    "destroyed by an operator: nobody knows, and it was not": lambda: up_and_running(
        destroyed(end="info")
    ),
    "revoked by an operator: locked after the boot": lambda: safe_and_locked(
        destroyed("kms.key.revoke")
    ),
    "key servers restored: the key is gone": lambda: safe_and_locked(servers_restored()),
    "a disk more, and nobody knows under which key": lambda: one_disk_more("locked"),
    "a disk was asked for in vain": lambda: one_disk_more("off"),
    "encryption mode off: not safe": crypto_off,
    "encryption mode off, prepared by hand, and not safe": lambda: (
        act(crypto_off(), "host.prepare-crypto", 12, on=ONE).host(ONE, "prepared").passes(200)
    ),
    "keys come with the repair, when a key server is back": lambda: (
        down_and_locked(dark(persistence=False, remediation_interval_s=100.0), 20)
        .heal("wan")
        .passes(120)
        .host(ONE, "safe")
        .vm("vm-01", ONE, "off")
        .passes(60)
    ),
    "encryption mode on again": lambda: crypto_on().passes(5).host(ONE, "safe").passes(60),
    "installed anew: nothing is left of its keys": lambda: (
        reinstalled(standard(persistence=True).cut().passes(60)).host(ONE, "prepared").passes(60)
    ),
    "installed anew: nor of its key derivation keys": lambda: (
        reinstalled(native().cut("away", ("vcenter", ONE)).passes(100))
        .host(ONE, "prepared")
        .passes(60)
    ),
    "installed anew: what the TPM was before does not stop it": lambda: (
        over_an_old_tpm().host(ONE, "safe").passes(60)
    ),
    "its TPM is cleared, and it has not booted since": lambda: (
        standard().fault("cleared", "tpm.clear", nodes=[ONE], latent=True).passes(100)
    ),
    "its TPM was cleared, and its next boot stops": lambda: (
        standard(persistence=True)
        .fault("cleared", "tpm.clear", nodes=[ONE], latent=True)
        .passes(20)
        .fault("dark", "host.power_loss", nodes=[ONE])
        .boot(ONE, passes=0)
        .node(ONE, "halted")
        .heal("dark")
        .passes(60)
    ),
    "certificates renewed: not told, and refused": lambda: down_and_locked(renewed()),
    "certificates renewed: not told, and served": lambda: up_and_running(renewed()),
    "certificates renewed: told": lambda: up_and_running(again(told(), "later")),
    "image imported: attested": lambda: safe_and_off(imported()),
}

BAD: dict[str, tuple[Callable[[], Story], str, str, str]] = {
    "restored: what vCenter does not know runs after the boot": (
        lambda: up_and_running(again(restored())),
        "vm-01",
        "R64",
        "running",
    ),
    "restored: a key made since comes though nobody unlocks": (
        lambda: up_and_running(older()),
        "vm-01",
        "R29",
        "running",
    ),
    "restored: a key of the backup does not come": (
        lambda: safe_and_locked(again(put_back().passes(10))).passes(300),
        "vm-01",
        "R3",
        "locked",
    ),
    "restored: unlocked, and its key does not come": (
        lambda: safe_and_locked(older("ok")).passes(300),
        "vm-01",
        "R3",
        "locked",
    ),
    "rebuilt: hosts that nobody has added lose what they have": (
        lambda: down_and_locked(again(rebuilt())),
        ONE,
        "R55",
        "prepared",
    ),
    "rebuilt: added to a vCenter without the provider, and safe": (
        lambda: again(rebuilt(None, *BOTH)).host(ONE, "safe").vm("vm-01", ONE, "locked").passes(60),
        ONE,
        "R64",
        "safe",
    ),
    "rebuilt: its provider is added again, and its keys do not come": (
        lambda: down_and_locked(added_again(), 300),
        ONE,
        "R3",
        "prepared",
    ),
    "rebuilt: unlocked, and its key does not come": (
        lambda: safe_and_locked(added_again()).passes(300),
        "vm-01",
        "R3",
        "locked",
    ),
    "rebuilt: nobody unlocks, and its key comes": (
        lambda: up_and_running(added_again("")),
        "vm-01",
        "R29",
        "running",
    ),
    "left alone, and safe": (
        lambda: (
            again(act(standard(), "host.disconnect", 11, on=ONE).passes(5))
            .host(ONE, "safe")
            .vm("vm-01", ONE, "locked")
            .passes(60)
        ),
        ONE,
        "R7",
        "safe",
    ),
    "left alone: vCenter is back, and its keys do not come": (
        lambda: left_alone(back=True).passes(300),
        ONE,
        "R3",
        "prepared",
    ),
    "removed by force, and it can be started": (
        lambda: powered(removed(), "vm.off", "off").passes(60),
        "vm-01",
        "R29",
        "off",
    ),
    "removed by force, and it was started": (
        lambda: (
            removed_and_off()
            .op("invoke", "vm-01", "vm.on", n=7)
            .passes(2)
            .op("ok", "vm-01", "vm.on", n=7)
            .passes(1)
        ),
        "vm-01",
        "R29",
        "started",
    ),
    "removed by force, known again, and locked for ever": (
        lambda: known_again().passes(300),
        "vm-01",
        "R",
        "locked",
    ),
    "destroyed by an operator, and running after the boot": (
        lambda: up_and_running(destroyed()),
        "vm-01",
        "R29",
        "running",
    ),
    "key servers restored, and it runs without its key": (
        lambda: up_and_running(servers_restored()),
        "vm-01",
        "R29",
        "running",
    ),
    "key servers restored, and another key does not come": (
        lambda: (
            servers_restored()
            .fault("dark 2", "host.power_loss", nodes=["esxi-002"])
            .boot("esxi-002")
            .heal("dark 2")
            .host("esxi-002", "safe")
            .vm("vm-02", "esxi-002", "locked")
            .passes(200)
        ),
        "vm-02",
        "R3",
        "locked",
    ),
    "encryption mode on again, and never safe": (
        lambda: crypto_on().host(ONE, "prepared").passes(300),
        ONE,
        "R3",
        "prepared",
    ),
    "installed anew, and safe by its old store": (
        lambda: (
            reinstalled(standard(persistence=True).cut().passes(60)).host(ONE, "safe").passes(60)
        ),
        ONE,
        "R5",
        "safe",
    ),
    "installed anew, and it derives its keys": (
        lambda: (
            reinstalled(native().cut("away", ("vcenter", ONE)).passes(100))
            .host(ONE, "safe")
            .passes(60)
        ),
        ONE,
        "R56",
        "safe",
    ),
    "installed anew, and it derives its keys at the next boot": (
        lambda: (
            again(reinstalled(native().cut("away", ("vcenter", ONE)).passes(100)))
            .host(ONE, "safe")
            .passes(60)
        ),
        ONE,
        "R56",
        "safe",
    ),
    "its TPM was cleared, and its next boot goes on": (
        lambda: (
            again(
                standard(persistence=True)
                .fault("cleared", "tpm.clear", nodes=[ONE], latent=True)
                .passes(20)
            )
            .host(ONE, "safe")
            .passes(60)
        ),
        ONE,
        "R18",
        "safe",
    ),
    "certificates renewed, told, and not served after the next boot": (
        lambda: down_and_locked(again(told(), "later"), 100),
        ONE,
        "R40",
        "prepared",
    ),
    "no backup, and a key is made": (
        lambda: act(
            act(
                native().cut("it", ("kms", "kms-2")), "provider.add-native", 11, provider="r"
            ).passes(5),
            "key.generate",
            12,
            provider="r",
            told={"key": "k8", "provider": "r"},
        ).passes(5),
        "",
        "R58",
        "made",
    ),
}

OUTAGES = {
    "restored: a key of the backup does not come",
    "restored: unlocked, and its key does not come",
    "rebuilt: unlocked, and its key does not come",
    "key servers restored, and another key does not come",
    "rebuilt: its provider is added again, and its keys do not come",
    "left alone: vCenter is back, and its keys do not come",
    "certificates renewed, told, and not served after the next boot",
    "rebuilt: hosts that nobody has added lose what they have",
    "removed by force, known again, and locked for ever",
}
