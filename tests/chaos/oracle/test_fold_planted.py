"""Bugs planted into the fold, one at a time: the run that holds it to this detail is judged
otherwise then. A good one fails, or a bad one is not found any more."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.checks.truth_table import truth_table
from chaos.oracle.fold import answers, hosts
from chaos.oracle.fold.answers import FoldAnswers
from chaos.oracle.fold.disturbances import Disturbances, _remains_under
from chaos.oracle.fold.fold import Fold
from chaos.oracle.fold.hosts import Derivation, FoldedHost, FoldedTrust
from chaos.oracle.fold.listings import Listings, ProviderListing
from chaos.oracle.fold.operations import Availability, FoldedOperations, Placements
from chaos.oracle.fold.settings import FoldSettings
from chaos.oracle.fold.upkeep import Providers, Upkeep
from chaos.oracle.fold.vms import FoldedVm
from chaos.oracle.fold.ways import Realm, Realms, Ways
from tests.chaos.oracle.act_planted import PLANTED as OF_ACTS
from tests.chaos.oracle.goes_on_planted import PLANTED as OF_GOING_ON
from tests.chaos.oracle.kmip_planted import PLANTED as OF_KMIP
from tests.chaos.oracle.moved_planted import PLANTED as OF_MOVES
from tests.chaos.oracle.namesake_planted import PLANTED as OF_NAMESAKES
from tests.chaos.oracle.native_planted import PLANTED as OF_NATIVES
from tests.chaos.oracle.placed_runs import PLANTED as OF_PLACEMENTS
from tests.chaos.oracle.realm_planted import PLANTED as OF_REALMS
from tests.chaos.oracle.test_truth_table_check import BAD, GOOD, records
from tests.chaos.oracle.trusted_planted import PLANTED as OF_TRUST

PLANTED: tuple[tuple[Any, str, str, str], ...] = (
    (FoldedHost.saw, "turned=sealed_now", "turned=False", "stored since a TPM seals"),
    (
        FoldedHost._turn_persistence,
        "not self.sealed",
        "False",
        "persistence without a seal, and turned on",
    ),
    (
        FoldedHost._after_boot,
        "_boot_places(places, self.persists)",
        "places",
        "not persisted, and locked",
    ),
    (FoldedHost._after_boot, "self.persists)", "YES)", "turned off, and its store is used"),
    (FoldedHost._after_boot, "self.persists)", "NO)", "persisted, and running again"),
    (
        FoldedHost.boot_into,
        "self.doubted.clear()",
        "pass",
        "refused for lack of a key that came with the boot",
    ),
    (
        FoldedHost.boot_into,
        "if self.toggles",
        "if False",
        "off and on again, and dark with nothing in the store",
    ),
    (
        FoldedHost.boot_into,
        "self.maintained = self.maintains",
        "pass",
        "off when its host is long out of maintenance, and booted again",
    ),
    (
        FoldedHost.bring,
        "come if surely else places | come",
        "come",
        "unlocked after the heal, and started by nobody",
    ),
    (
        FoldedHost.bring,
        "come if surely else places | come",
        "places | come",
        "a VM under the provider that answers is locked",
    ),
    (
        FoldedHost.take_away,
        "left if surely else places | left",
        "places | left",
        "keys of a deleted provider stay for ever",
    ),
    (
        FoldedHost.take_away,
        "key != self.key",
        "True",
        "a host keeps its mode when its provider is gone",
    ),
    (
        FoldedHost.take_away,
        "self.doubted.add(key)",
        "pass",
        "it ran while its key was taken away, and did not start again",
    ),
    (FoldedHost.observe, "if fitting", "if True", "not safe any more with its new host key"),
    (
        FoldedHost.has_persistence,
        "known == YES)",
        "known == NO)",
        "enabled with keys in the cache, and they were not stored",
    ),
    (
        FoldedHost.unknown,
        "else self._written | NO",
        "else YES",
        "cached before, not stored by the knob, and there",
    ),
    (
        Fold._node,
        "host.stops = self._stop_of(record.node, host, recent=recent)",
        "pass",
        "no screen, with Secure Boot off",
    ),
    (
        Fold._was_changed_recently,
        '"unseen", 0.0',
        '"", 0.0',
        "a boot that was seen late, and began before its TPM was disabled",
    ),
    (
        Fold._was_changed_recently,
        "CHANGED_S + ",
        "60 + ",
        "no screen, in a boot that was seen late and began with its TPM disabled",
    ),
    (
        Fold._node,
        "if vm.host == record.node",
        "if vm.host != record.node",
        "its key came within the window, and it was not started",
    ),
    (
        Fold._tpm,
        "host.stops, host.change = YES, Change.TPM",
        "pass",
        "another TPM that was put in while it booted, and no screen",
    ),
    (
        Fold._tpm,
        "host.stops, host.change = NO, Change.NOTHING",
        "pass",
        "at its screen after the cure",
    ),
    (
        Fold._stop_of,
        "not found.effect.if_required",
        "True",
        "an option was removed that no policy asks for",
    ),
    (Fold._look, "vm.settle(self.now)", "pass", "down long after an operation without known end"),
    (
        Fold._look,
        "works and vm.awaited",
        "works",
        "wanted or not when its host booted, and not started",
    ),
    (
        Fold._look,
        "self.surely_tries(vm)",
        "False",
        "its key came within the window, and it was not started",
    ),
    (Fold._narrow, "vm.ran_boot = self.nodes[vm.host].boot", "pass", "an outage without a reason"),
    (
        Fold._keys_on_their_way,
        "realm.ways.forget(way, self.now)",
        "pass",
        "its key came while its way had long been shut",
    ),
    (
        FoldAnswers.settled,
        "max(opened, way.host_since + self.settings.connect_s)",
        "opened",
        "vCenter takes a minute to come to a host",
    ),
    (
        FoldAnswers.may_evict,
        "self.settings.grace_s",
        "1e9",
        "keys of a deleted provider leave after the grace",
    ),
    (FoldAnswers.may_evict, "self.settings.grace_s", "0", "evicted before its grace"),
    (
        FoldAnswers.surely_evicted,
        "way.led_since + self.settings.connect_s",
        "0",
        "evicted only when vCenter comes to the host",
    ),
    (
        FoldAnswers.usable,
        "if key in vm.keys",
        "if key not in vm.keys",
        "a destroyed key that came all the same",
    ),
    (
        FoldAnswers.usable,
        "if key in vm.keys",
        "if True",
        "a VM whose key was destroyed, and another whose was not",
    ),
    (
        FoldAnswers._renewable,
        "NO if all(whole == NO for whole in ways) else OPEN",
        "OPEN",
        "safe though both providers are away",
    ),
    (
        FoldAnswers._host_may_be,
        "self.now - node.since <= self.settings.boot_s",
        "True",
        "a boot that does not end",
    ),
    (
        FoldAnswers.tries_to_start,
        "self.now <= node.since + self.settings.tries_s",
        "True",
        "started long after its window",
    ),
    (
        FoldAnswers.observe_host,
        "not host.silent and host.seen_boot == node.boot",
        "not host.silent",
        "a host that says nothing after its boot",
    ),
    (
        FoldedVm.host_booted,
        "self.awaited = self.to_run == YES",
        "self.awaited = True",
        "wanted or not when its host booted, and not started",
    ),
    (
        FoldedVm.host_booted,
        "self.due = False",
        "pass",
        "locked in one boot and not in the one before",
    ),
    (
        FoldedVm.host_booted,
        "self.tries.clear()",
        "pass",
        "it runs in a boot without its key, as in the one before",
    ),
    (
        FoldedVm.end,
        "self.ran_boot = max(self.ran_boot, boot)",
        "pass",
        "down right after it was put on",
    ),
    (
        Disturbances._take,
        "return self.there.pop(id)",
        "return self.there[id]",
        "not safe, and the cut was missed",
    ),
    (
        Disturbances._take,
        "FaultPhase.ENDING if undone or self._unattended else FaultPhase.ON",
        "FaultPhase.ON",
        "a fault that begins while another is being taken back with it",
    ),
    (
        Disturbances._take,
        "self._end(self._rivals(found))\n        return found",
        "return found",
        "two faults, and one is being taken back with the other",
    ),
    (
        Disturbances._take,
        '"error" not in record.data',
        "True",
        "a fault that was not made, and is not there",
    ),
    (Disturbances._link, "Takes.LINKS, other", "Takes.LINKS", "safe without a broker"),
    (
        _remains_under,
        "found.effect.passes_by",
        "False",
        "prepared though only one server of the bus is down",
    ),
    (
        _remains_under,
        "found.effect.partly",
        "False",
        "a host that is safe while a route of the bus is cut",
    ),
    (Disturbances._link, "_is_on(found, a, b)", "False", "safe though it must be prepared"),
    (Disturbances.stands, "held + copied", "copied", "safe though its key server stands still"),
    (Disturbances.stands, "held + copied", "held", "a key server that is being copied"),
    (
        Disturbances.may_be_off,
        "found.effect.spreads or",
        "",
        "a host that goes down with a process",
    ),
    (
        Disturbances.may_be_off,
        "Takes.POWER, Takes.TPM, *AT_NEXT_BOOT",
        "Takes.POWER",
        "a host that is off while its TPM is changed",
    ),
    (
        Disturbances.held_down,
        "and found.phase is FaultPhase.ON",
        "",
        "a key that was made while vCenter came back",
    ),
    (
        Disturbances.held_down,
        "found.about(node) and",
        "False and",
        "a key that was made while vCenter was down",
    ),
    (Ways._ask, "either(ways) != NO", "True", "safe, and nobody could give it its key"),
    (Ways._ask, "either(ways) != NO", "False", "safe by its own key, and its VM is locked"),
    (Ways._ask, "self.asking.", "set(hosts).", "safe by its own key, and it has no vSAN"),
    (Ways.boot, "if to != host", "", "safe by a way of the boot before"),
    (
        Ways._some,
        "OPEN if some == YES and both(ways) != YES else some",
        "some",
        "one of two key servers is away, and it takes some time",
    ),
    (
        Ways._some,
        "either(ways)",
        "both(ways)",
        "one of two key servers is away, and keys come",
    ),
    (
        FoldSettings.change_by,
        'and fault["secure_boot"] != secure_boot',
        "",
        "Secure Boot set as it was",
    ),
    (
        FoldSettings.change_by,
        "set(self.seal_pcrs)",
        "{7}",
        "another build, which the policy covers",
    ),
    (
        FoldSettings.change_by,
        "registers.add(int(fault.get",
        "print(int(fault.get",
        "another event, where the policy looks",
    ),
)

KINDS = (
    *(
        FoldedHost,
        Derivation,
        FoldedTrust,
        Fold,
        Availability,
        FoldedOperations,
        Placements,
        FoldAnswers,
    ),
    *(FoldedVm, Disturbances, Ways, FoldSettings, ProviderListing, Listings),
    *(Providers, Upkeep, Realm, Realms),
)
ALL = (
    PLANTED
    + OF_ACTS
    + OF_NATIVES
    + OF_NAMESAKES
    + OF_MOVES
    + OF_GOING_ON
    + OF_TRUST
    + OF_PLACEMENTS
    + OF_REALMS
    + OF_KMIP
)


def otherwise(story: str) -> bool:
    """Whether the run is judged otherwise than it is to be."""
    made = GOOD[story]() if story in GOOD else BAD[story][0]()
    wanted = CheckOutcome.PASS if story in GOOD else CheckOutcome.FAIL
    return truth_table(records(made)).result is not wanted


def broken(function: types.FunctionType, old: str, new: str) -> types.FunctionType:
    """The same method with one place of its text changed."""
    text = inspect.cleandoc("\n" + inspect.getsource(function))
    assert text.count(old) == 1, f"{function.__qualname__} has {old!r} {text.count(old)} times"
    made: dict[str, Any] = {}
    source = f"from __future__ import annotations\n{text.replace(old, new)}"
    exec(source, function.__globals__, made)  # noqa: S102 - a text of our own
    found: types.FunctionType = made[function.__name__]
    return found


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """Nothing that a bug has left is remembered."""
    yield
    for module in (hosts, answers):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "old", "new", "story"),
    ALL,
    ids=[f"{function.__name__}: {new}" for function, _, new, _ in ALL],
)
def test_the_run_is_judged_otherwise(
    function: Any, old: str, new: str, story: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not otherwise(story)
    owners = (kind for kind in KINDS if vars(kind).get(function.__name__) is function)
    owner = next(owners, sys.modules[function.__module__])
    monkeypatch.setattr(owner, function.__name__, broken(function, old, new))
    assert otherwise(story)
