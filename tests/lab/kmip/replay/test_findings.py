"""One misbehaving server for each kind of finding, each with exactly that finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import FindingLevel, PlayPhase, ReplayVerdict
from lab.kmip.replay.flow import GENERATED, HOST, NOBODYS, VIRTUAL_MACHINE, WRAPPING_KEY
from lab.kmip.replay.running import HEALTH_EVERY_S, ReplayPlan
from protocol.kmip.enums import ResultReason, State
from tests.lab.kmip.replay import wrong
from tests.lab.kmip.replay.rig import Time, found, of_one_provider, played
from tests.services.keyservers.scripted import ScriptedServer

NO = ResultReason.PERMISSION_DENIED
WRONG: dict[str, Callable[[], ScriptedServer]] = {
    "server-unreachable": lambda: ScriptedServer(down=True),
    "server-not-added": lambda: ScriptedServer(refuses={"Query": NO}),
    "version-not-offered": lambda: ScriptedServer(offers=(wrong.version(0), wrong.version(2))),
    "version-changed": wrong.Newer,
    "batch-id-missing": wrong.Numberless,
    "health-failed": lambda: wrong.NoHealth(refuses={"DiscoverVersions": NO}),
    "create-failed": lambda: ScriptedServer(refuses={"Create": NO}),
    "id-repeated": wrong.Counter,
    "tag-failed": lambda: wrong.Stopping(refuses={"AddAttribute": NO}),
    "tags-lost": wrong.Forgetful,
    "use-failed": wrong.NoActivate,
    "key-not-active": wrong.Inactive,
    "key-constant": wrong.AllZero,
    "key-repeated": wrong.OneForAll,
    "key-length": wrong.Shorter,
    "key-algorithm": wrong.Older,
    "key-changed": wrong.Changing,
    "fetch-failed": wrong.GetsOnce,
    "status-failed": lambda: wrong.NoStatus(refuses={"State": NO}),
    "missing-key-hidden": wrong.Vague,
    "missing-key-served": lambda: ScriptedServer(keys={NOBODYS: State.ACTIVE}),
}
OF_9 = ReplayPlan(keys=1, vcenter="9.0", phases=frozenset({PlayPhase.FLOW}))
WRAPPING: dict[str, tuple[Callable[[], ScriptedServer], list[str]]] = {
    "wrapping-key-failed": (wrong.MakesNoWrappingKey, []),
    "wrapping-key-not-active": (wrong.RetiresWrappingKeys, []),
    "wrapping-key-lost": (wrong.GivesWrappingKeyOnce, []),
    "wrapping-key-changed": (wrong.ChangesWrappingKey, ["key-changed"]),
}
"""Servers that are wrong at wrapping keys, and what else is found there."""
LEVELS = {kind.id: kind.level for kind in kinds.KINDS}
VERDICTS = {FindingLevel.ERROR: ReplayVerdict.FAILS, FindingLevel.NOTICE: ReplayVerdict.NOTICES}


async def test_a_good_server_works() -> None:
    server = ScriptedServer()
    journal = await played(server, plan=ReplayPlan(keys=3, hosts=4))
    assert (found(journal), journal.verdict) == ([], ReplayVerdict.WORKS)
    kept = [key.uid for key in journal.keys if server.keys[key.uid] is not State.ACTIVE]
    assert kept == [key.uid for key in journal.keys if key.use == GENERATED]
    assert not any(latency.failed for latency in journal.steps.values())


@pytest.mark.parametrize("kind", WRONG)
async def test_a_server_that_is_wrong_in_one_thing_has_one_finding(kind: str) -> None:
    journal = await played(WRONG[kind]())
    assert found(journal) == [(kind, "kms-1")]
    assert journal.verdict is VERDICTS[LEVELS[kind]]


@pytest.mark.parametrize("kind", WRAPPING)
async def test_a_server_that_is_wrong_at_wrapping_keys(kind: str) -> None:
    make, others = WRAPPING[kind]
    journal = await played(make(), plan=OF_9)
    assert found(journal) == [(one, "kms-1") for one in (*others, kind)]
    assert journal.verdict is ReplayVerdict.FAILS
    with_8 = await played(make(), plan=replace(OF_9, vcenter="8.0"))
    assert kind not in [one for one, _ in found(with_8)]


async def test_a_server_is_not_asked_for_wrapped_keys() -> None:
    server = ScriptedServer()
    plan = ReplayPlan(keys=5, vcenter="9.0", phases=frozenset({PlayPhase.FLOW}))
    journal = await played(server, plan=plan)
    assert found(journal) == []
    wrapping = [key.uid for key in journal.keys if key.use == WRAPPING_KEY]
    assert len(wrapping) == 2 and all(server.keys[uid] is State.ACTIVE for uid in wrapping)
    uses = Counter(key.use for key in journal.keys)
    assert (uses[VIRTUAL_MACHINE], uses[HOST], uses[WRAPPING_KEY]) == (5, 1, 2)


@pytest.mark.parametrize("trouble", ["down", "silent", "garbage"])
async def test_a_server_that_does_not_answer_is_unreachable(trouble: str) -> None:
    server = ScriptedServer()
    setattr(server, trouble, True)
    journal = await played(server)
    assert found(journal) == [("server-unreachable", "kms-1")]
    assert journal.keys == []
    assert journal.phases[PlayPhase.FLOW].skipped


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("TlsFailure: the certificate of the other end was refused: expired", "server-not-trusted"),
        (
            "TlsFailure: the other end refused the handshake: tlsv1 alert unknown ca",
            "client-not-trusted",
        ),
        ("TlsFailure: the handshake failed: tls alert certificate expired", "client-not-trusted"),
        ("TlsFailure: the handshake failed: tlsv1 alert protocol version", "server-unreachable"),
        ("TlsFailure: the handshake failed: wrong version number", "server-unreachable"),
        ("Disconnected: the other end broke the connection", "server-unreachable"),
    ],
)
def test_a_handshake_says_who_does_not_trust_whom(error: str, kind: str) -> None:
    """STD-03: each way is reported by itself."""
    assert kinds.kind_of_failure(error).id == kind
    assert kinds.consequence(kinds.CREATE_FAILED, error) == kinds.kind_of_failure(error).vcenter
    assert kinds.consequence(kinds.TAG_FAILED, error) == kinds.TAG_FAILED.vcenter


async def test_a_refusal_is_told_in_the_words_of_the_server() -> None:
    """Also where it stops the batch that it refuses a part of."""
    journal = await played(wrong.Stopping(refuses={"AddAttribute": NO}))
    [finding] = journal.findings
    assert finding.seen == "OperationFailed: Permission Denied"
    assert finding.times > 1


async def test_the_provider_goes_on_while_one_of_its_servers_answers() -> None:
    one, other = of_one_provider(2)
    one.down = True
    journal = await played(one, other)
    assert found(journal) == [("server-down", "kms-1")]
    assert journal.verdict is ReplayVerdict.NOTICES
    assert len(journal.keys) > 2 and {key.server for key in journal.keys} == {"kms-2:5696"}


async def test_servers_of_one_provider_have_the_same_keys() -> None:
    assert found(await played(*of_one_provider(2))) == []
    journal = await played(ScriptedServer(), ScriptedServer())
    assert ("key-not-replicated", "kms-2") in found(journal)
    assert journal.verdict is ReplayVerdict.FAILS


async def test_a_soak_makes_keys_and_looks_at_health() -> None:
    server = ScriptedServer()
    plan = ReplayPlan(phases=frozenset(), soak_s=4 * HEALTH_EVERY_S)
    journal = await played(server, plan=plan, at=Time(least=50))
    assert len(journal.keys) == 1 + 4 * HEALTH_EVERY_S / 50
    looks = [messages for messages in server.connections if messages == ["DiscoverVersions"] * 2]
    assert len(looks) == 2 + 3


def test_every_kind_has_a_server_that_is_so() -> None:
    """Those of trust are in ``test_trust``, those of several servers or clients in ``test_phases``;
    one is about the client."""
    from tests.lab.kmip.replay.test_phases import SEVERAL
    from tests.lab.kmip.replay.test_trust import WRONG as UNTRUSTED

    rest = {"server-down", "client-certificate-expiring", "old-tls"}
    assert {kind.id for kind in kinds.KINDS} == {*WRONG, *WRAPPING, *UNTRUSTED, *SEVERAL, *rest}
