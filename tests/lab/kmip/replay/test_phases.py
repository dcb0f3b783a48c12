"""Phases in which several servers, or several clients, have to do with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from lab.kmip.replay.failover import Outage
from lab.kmip.replay.findings import PlayPhase, ReplayVerdict
from lab.kmip.replay.flow import (
    GENERATED,
    HOST,
    RELEASES,
    VIRTUAL_MACHINE,
    VSAN_KEY,
    WRAPPING_KEY,
    Flow,
)
from lab.kmip.replay.journal import ReplayJournal
from lab.kmip.replay.kinds import SEPARATE, TAKEN_OVER
from lab.kmip.replay.running import ReplayPlan
from lab.kmip.replay.servers import ReplayRole
from lab.kmip.replay.trust_flows import FlowPart, TrustFlow
from protocol.kmip.enums import ResultReason, State
from tests.lab.kmip.replay import wrong
from tests.lab.kmip.replay.rig import Time, found, of_one_provider, played, reached
from tests.services.keyservers.scripted import ScriptedServer

NO = ResultReason.PERMISSION_DENIED
OUTAGE = Outage("stop kms-1", "start kms-1")
PAIR = frozenset({PlayPhase.FLOW, PlayPhase.FAILOVER})
READY = FlowPart(TrustFlow.CERTIFICATE, "certificate.pem", "", ready=True)


def stranger() -> ScriptedServer:
    """What a server is to a client that has nothing in common with vCenter."""
    return ScriptedServer(prefix="other")


@dataclass
class Power:
    """Ends a server and starts it again, as commands of a person do; ``then`` as it comes back."""

    server: ScriptedServer
    then: Callable[[], None] = lambda: None
    told: list[str] = field(default_factory=list)

    async def run(self, command: str) -> str:
        self.told.append(command)
        self.server.down = command == OUTAGE.end
        if not self.server.down:
            self.then()
        return ""


async def seen_as(
    who: str, view: ScriptedServer, server: ScriptedServer | None = None, **plan: Any
) -> ReplayJournal:
    """A replay against a server that is ``view`` to ``who``."""
    made = ReplayPlan(keys=1, hosts=2, isolation=who == ReplayRole.OTHER, **plan)
    return await played(server or ScriptedServer(), plan=made, views={who: [view]})


# ---- hosts of a vSAN, a Key Provider Service, trust flows ---------------------------------------


async def no_vsan_host() -> ReplayJournal:
    return await seen_as(ReplayRole.VSAN, ScriptedServer())


async def stale_vsan_host() -> ReplayJournal:
    server = ScriptedServer()
    return await seen_as(ReplayRole.VSAN, wrong.Stale(keys=server.keys), server)


async def no_primary_key() -> ReplayJournal:
    return await seen_as(ReplayRole.KPS, ScriptedServer())


async def no_trust_flow() -> ReplayJournal:
    refusing = ScriptedServer(refuses={"Create": NO})
    return await seen_as(TrustFlow.CERTIFICATE, refusing, flows=(READY,))


# ---- other clients ------------------------------------------------------------------------------


async def one_for_all_clients() -> ReplayJournal:
    server = ScriptedServer()
    return await seen_as(ReplayRole.OTHER, server, server)


async def told_of_others() -> ReplayJournal:
    server = ScriptedServer()
    refuses = {"Get": NO, "Create": NO}
    return await seen_as(
        ReplayRole.OTHER, ScriptedServer(keys=server.keys, refuses=refuses), server
    )


async def found_by_others() -> ReplayJournal:
    server = ScriptedServer()
    refuses = {"Get": NO, "State": NO, "Create": NO}
    view = ScriptedServer(keys=server.keys, tags=server.tags, refuses=refuses)
    return await seen_as(ReplayRole.OTHER, view, server)


# ---- several servers ----------------------------------------------------------------------------


async def apart() -> ReplayJournal:
    return await played(ScriptedServer(), ScriptedServer(prefix="two"), plan=ReplayPlan(keys=1))


async def late() -> ReplayJournal:
    first = ScriptedServer()
    return await played(first, wrong.Late(first, late=3), plan=ReplayPlan(keys=1))


async def no_takeover() -> ReplayJournal:
    one, other = of_one_provider(2)

    async def run(command: str) -> str:
        one.down = command == OUTAGE.end
        other.refuses = {"Create": NO}
        return ""

    return await played(one, other, plan=ReplayPlan(keys=1, outage=OUTAGE), run=run)


async def no_catching_up() -> ReplayJournal:
    one, other = of_one_provider(2)
    power = Power(one)

    async def run(command: str) -> str:
        if command == OUTAGE.end:
            one.keys = dict(other.keys)  # what it has before its end is all that it ever gets
        return await power.run(command)

    return await played(one, other, plan=ReplayPlan(keys=1, outage=OUTAGE, phases=PAIR), run=run)


async def crowded() -> ReplayJournal:
    return await played(wrong.Crowded(), plan=ReplayPlan(keys=1, hosts=20))


SEVERAL = {
    "vsan-fetch-failed": no_vsan_host,
    "vsan-key-not-active": stale_vsan_host,
    "primary-key-failed": no_primary_key,
    "trust-flow-refused": no_trust_flow,
    "foreign-key-served": one_for_all_clients,
    "foreign-key-described": told_of_others,
    "foreign-key-located": found_by_others,
    "key-not-replicated": apart,
    "key-late": late,
    "takeover-failed": no_takeover,
    "catch-up-failed": no_catching_up,
    "storm-failed": crowded,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEVERAL)
async def test_what_is_wrong_among_several_is_one_finding(kind: str) -> None:
    journal = await SEVERAL[kind]()
    assert {id for id, _ in found(journal)} == {kind}, journal.findings


# ---- what is right ------------------------------------------------------------------------------


async def test_a_client_that_sees_nothing_of_another_one_is_as_it_should_be() -> None:
    journal = await seen_as(ReplayRole.OTHER, stranger())
    assert (found(journal), journal.checks[SEPARATE, "kms-1:5696"]) == ([], "")
    assert journal.phases[PlayPhase.ISOLATION].skipped == ""


async def test_what_vcenter_gets_of_another_client_is_found_too() -> None:
    server = ScriptedServer()
    view = ScriptedServer(prefix="other", refuses={"Get": NO, "State": NO})
    view.keys = server.keys  # it sees nothing, and its own keys are seen
    journal = await seen_as(ReplayRole.OTHER, view, server)
    [finding] = journal.findings
    assert "which the other client had made" in finding.seen


async def test_a_client_that_is_let_in_nowhere_proves_nothing() -> None:
    journal = await seen_as(ReplayRole.OTHER, ScriptedServer(down=True))
    assert found(journal) == []
    assert "refuses the other client" in journal.checks[SEPARATE, "kms-1:5696"]


async def test_without_another_client_isolation_is_not_played() -> None:
    journal = await played(ScriptedServer())
    assert "--identity other=" in journal.phases[PlayPhase.ISOLATION].skipped


async def test_a_server_that_is_down_is_taken_over() -> None:
    one, other = of_one_provider(2)
    one.down = True
    journal = await played(one, other)
    assert found(journal) == [("server-down", "kms-1")]
    assert journal.checks[TAKEN_OVER, "kms-2:5696"] == ""
    assert "failover_s" in journal.phases[PlayPhase.FAILOVER].measures


async def test_an_outage_is_played_by_commands() -> None:
    one, other = of_one_provider(2)
    power = Power(one)
    journal = await played(
        one, other, plan=ReplayPlan(keys=1, hosts=2, outage=OUTAGE), run=power.run
    )
    assert found(journal) == []
    assert power.told == [OUTAGE.end, OUTAGE.start]
    measures = journal.phases[PlayPhase.FAILOVER].measures
    assert {"failover_s", "recovery_s", "caught_up_s", "visible_s"} <= set(measures)
    assert {key.server for key in journal.keys if key.use == VIRTUAL_MACHINE} == {
        "kms-1:5696",
        "kms-2:5696",
    }


async def test_an_outage_that_ends_no_server_proves_nothing() -> None:
    one, other = of_one_provider(2)

    async def run(command: str) -> str:
        return ""

    at = Time(least=10)
    journal = await played(one, other, plan=ReplayPlan(keys=1, outage=OUTAGE), run=run, at=at)
    assert found(journal) == []
    assert "still answers after 60 s" in journal.checks[TAKEN_OVER, "kms-2:5696"]


async def test_a_command_that_fails_proves_nothing() -> None:
    journal = await played(*of_one_provider(2), plan=ReplayPlan(keys=1, outage=OUTAGE))
    assert found(journal) == []
    assert "no command can be run here" in journal.checks[TAKEN_OVER, "kms-2:5696"]


async def test_without_an_outage_nothing_is_said_of_one() -> None:
    journal = await played(*of_one_provider(2), plan=ReplayPlan(keys=1))
    assert "--outage" in journal.checks[TAKEN_OVER, "kms-1:5696"]
    assert "failover_s" not in journal.phases[PlayPhase.FAILOVER].measures


async def test_how_late_a_key_is_seen_is_measured() -> None:
    at = Time(least=2)
    first = ScriptedServer()
    journal = await played(first, wrong.Late(first, late=3), plan=ReplayPlan(keys=1), at=at)
    assert journal.phases[PlayPhase.FAILOVER].measures["visible_s"] == 6.0
    assert journal.verdict is ReplayVerdict.NOTICES


async def test_a_key_is_waited_for_as_long_as_is_allowed() -> None:
    first = ScriptedServer()
    plan = ReplayPlan(keys=1, visible_s=5.9)
    journal = await played(first, wrong.Late(first, late=4), plan=plan, at=Time(least=2))
    assert ("key-not-replicated", "kms-2") in found(journal)


async def test_a_storm_is_so_many_hosts_with_every_key() -> None:
    server = ScriptedServer()
    before = len(server.connections)
    journal = await played(server, plan=ReplayPlan(keys=2, hosts=7))
    known = len(journal.keys_with_value())
    measures = journal.phases[PlayPhase.STORM].measures
    assert (measures["hosts"], measures["fetches"], measures["failed"]) == (7, 7 * known, 0)
    assert len(server.connections) - before > 7 * known


async def test_a_host_of_the_storm_fetches_ten_keys_at_most() -> None:
    journal = await played(ScriptedServer(), plan=ReplayPlan(keys=12, hosts=2))
    assert len(journal.keys_with_value()) > 10
    assert journal.phases[PlayPhase.STORM].measures["fetches"] == 2 * 10


# ---- releases, keys that stay -------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
async def test_each_release_makes_the_keys_that_it_has(release: str) -> None:
    server = ScriptedServer()
    journal = await played(server, plan=ReplayPlan(keys=2, vcenter=release))
    assert found(journal) == []
    uses = Counter(key.use for key in journal.keys)
    assert (uses[VIRTUAL_MACHINE], uses[HOST], uses[VSAN_KEY]) == (2, 1, 2)
    assert uses[GENERATED] == (release != "7.0")
    assert uses[WRAPPING_KEY] == (2 if release == "9.0" else 0)
    versions = {value for (_, name), value in server.tags.items() if name == "x-Product_Version"}
    assert versions == {RELEASES[release].version}
    assert RELEASES[release].version.startswith(release)
    components = {value for (_, name), value in server.tags.items() if name == "x-Component"}
    assert components == {"Virtual Machine", "ESXi Server"}


async def test_the_first_vm_of_a_host_takes_eight_connections_and_thirty_two_messages() -> None:
    """As recorded of vCenter 7.0.3: the host key is made in the midst of it."""
    server = ScriptedServer()
    flow = Flow(journal := ReplayJournal(["kms-1:5696"], lambda: 0.0), RELEASES["7.0"])
    await flow.encrypt_first(reached(server, journal), 1)
    batches = 4  # of three items in a message
    assert sum(map(len, server.connections)) - 2 * batches == 32
    assert len(server.connections) == 8
    vm, host = journal.keys
    assert [name for (uid, name) in server.tags if uid == host.uid][-1] == "x-Name"
    assert server.tags[host.uid, "x-Component"] == "ESXi Server"
    assert server.tags[vm.uid, "x-Component"] == "Virtual Machine"


async def test_a_primary_key_that_is_named_is_not_made() -> None:
    server = ScriptedServer(keys={"primary": State.ACTIVE})
    journal = await played(server, plan=ReplayPlan(keys=0, hosts=2, primary_key="primary"))
    assert found(journal) == []
    assert "primary key" not in {key.use for key in journal.keys}
    missing = await played(ScriptedServer(), plan=ReplayPlan(keys=0, primary_key="primary"))
    assert found(missing) == [("primary-key-failed", "kms-1")]


async def test_cleanup_destroys_every_key() -> None:
    server = ScriptedServer()
    journal = await played(server, plan=ReplayPlan(keys=2, cleanup=True))
    assert (found(journal), server.keys) == ([], {})
    assert not any(key.left for key in journal.keys)
    measures = journal.phases[PlayPhase.CLEANUP].measures
    assert measures == {"destroyed": len(journal.keys), "left": 0}


async def test_keys_that_cannot_be_destroyed_are_told_with_the_reason() -> None:
    server = ScriptedServer(refuses={"Destroy": NO})
    journal = await played(server, plan=ReplayPlan(keys=1, cleanup=True))
    assert found(journal) == []
    assert {key.left for key in journal.keys} == {"Destroy: Permission Denied"}
    assert journal.phases[PlayPhase.CLEANUP].measures["left"] == len(journal.keys)


async def test_without_cleanup_every_key_is_left() -> None:
    server = ScriptedServer()
    journal = await played(server)
    assert all(key.left for key in journal.keys)
    assert {key.uid for key in journal.keys} == set(server.keys)


async def test_a_trust_flow_that_is_not_ready_says_what_is_missing() -> None:
    part = READY._replace(ready=False, then="have the server trust it")
    journal = await played(ScriptedServer(), plan=ReplayPlan(keys=0, flows=(part,)))
    [(check, why)] = [
        (check.title, why) for (check, _), why in journal.checks.items() if "flow" in check.title
    ]
    assert (check, why) == ("the trust flow certificate", "have the server trust it")


async def test_each_trust_flow_is_judged_by_itself() -> None:
    flows = [READY._replace(flow=flow) for flow in (TrustFlow.ROOT_CA, TrustFlow.CERTIFICATE)]
    refusing = ScriptedServer(refuses={"Create": NO})
    views: dict[str, list[ScriptedServer]] = {part.flow: [refusing] for part in flows}
    plan = ReplayPlan(phases=frozenset(), flows=flows)
    journal = await played(ScriptedServer(), plan=plan, views=views)
    assert [one.kind.check.title for one in journal.findings] == [
        "the trust flow root-ca",
        "the trust flow certificate",
    ]
