"""A replay of vCenter's flow: its verdict, what failed, and what vCenter would make of it."""

from __future__ import annotations

from typing import cast

import pytest

from lab.kmip.consequences import (
    FORGIVEN,
    UNREACHABLE,
    UNTRUSTED,
    UNTRUSTED_SERVER,
    Phase,
    Weight,
    consequence,
)
from lab.kmip.replay import HEALTH_EVERY_S, NOBODYS, Replay
from protocol.kmip.enums import ResultReason, State
from services.keyservers.dialogue import Dialogue
from services.runtime.ports import Clock
from tests.services.keyservers.scripted import QuickClock, ScriptedServer


def tell(text: str, step: int, total: int) -> None:
    """Nobody looks."""


async def no_sleep(seconds: float) -> None:
    """Time is told by the tests."""


async def played(*servers: ScriptedServer, keys: int = 2, soak_s: float = 0) -> Replay:
    replay = Replay({})
    for number, server in enumerate(servers, 1):
        name = f"kms-{number}:5696"
        replay.servers[name] = Dialogue(
            server.connect, cast(Clock, QuickClock()), within_s=5, heard=replay.heard(name)
        )
    await replay.run(keys, soak_s, no_sleep, tell)
    assert all(server.open == 0 for server in servers)
    return replay


async def test_a_good_server_works() -> None:
    server = ScriptedServer()
    replay = await played(server, keys=3)
    assert (replay.verdict, replay.findings, replay.made) == ("works", {}, 3)
    assert len(server.tags) == 18
    assert set(server.keys.values()) == {State.ACTIVE}
    steps = {step: latency for (_, step), latency in replay.steps.items()}
    assert len(steps["Create"].seconds) == 3
    assert not any(latency.failed for latency in steps.values())
    assert steps["Get"].quantile(0.5) <= steps["Get"].quantile(1.0)


async def test_tags_that_are_refused_degrade_it() -> None:
    replay = await played(ScriptedServer(refuses={"AddAttribute": ResultReason.INVALID_MESSAGE}))
    assert replay.verdict == "degraded"
    [finding] = replay.findings.values()
    assert (finding.phase, finding.step, finding.times) == (Phase.TAG, "Add Attribute", 4)
    assert finding.vcenter == FORGIVEN


@pytest.mark.parametrize(
    ("no", "phase", "step"),
    [
        ("Create", Phase.CREATE, "Create"),
        ("Get", Phase.USE, "Get"),
        ("State", Phase.USE, "Get Attributes (State)"),
        ("Activate", Phase.USE, "Activate"),
        ("DiscoverVersions", Phase.ADD, "Discover Versions"),
        ("Query", Phase.ADD, "Query"),
    ],
)
async def test_what_encryption_needs_fails_it(no: str, phase: Phase, step: str) -> None:
    replay = await played(ScriptedServer(refuses={no: ResultReason.OPERATION_NOT_SUPPORTED}))
    assert replay.verdict == "fails"
    assert (phase, step) in {(f.phase, f.step) for f in replay.findings.values()}


@pytest.mark.parametrize("trouble", ["down", "silent", "garbage"])
async def test_a_server_that_does_not_answer_fails_it(trouble: str) -> None:
    server = ScriptedServer()
    setattr(server, trouble, True)
    replay = await played(server)
    assert replay.verdict == "fails"
    assert {finding.vcenter for finding in replay.findings.values()} == {UNREACHABLE}
    assert replay.made == 0


@pytest.mark.parametrize(
    ("error", "vcenter"),
    [
        ("TlsFailure: the certificate of the other end was refused: expired", UNTRUSTED_SERVER),
        ("TlsFailure: the other end refused the handshake: tlsv1 alert unknown ca", UNTRUSTED),
        ("TlsFailure: the handshake failed: tls alert certificate expired", UNTRUSTED),
        ("TlsFailure: the handshake failed: tlsv1 alert protocol version", UNREACHABLE),
        ("TlsFailure: the handshake failed: wrong version number", UNREACHABLE),
        ("Disconnected: the other end broke the connection", UNREACHABLE),
    ],
)
def test_a_handshake_says_who_does_not_trust_whom(error: str, vcenter: str) -> None:
    """STD-03: each way is reported by itself."""
    assert consequence(Phase.ADD, error) == (Weight.FAILS, vcenter)
    assert consequence(Phase.HEALTH, error) == (Weight.DEGRADED, vcenter)


async def test_a_missing_key_is_to_be_told_by_its_reason() -> None:
    class Vague(ScriptedServer):
        def answer(self, item):  # type: ignore[no-untyped-def]
            answer = super().answer(item)
            if answer.result_reason == ResultReason.ITEM_NOT_FOUND:
                answer = answer.__class__(
                    operation=answer.operation,
                    unique_batch_item_id=answer.unique_batch_item_id,
                    result_status=answer.result_status,
                    result_reason=ResultReason.GENERAL_FAILURE,
                )
            return answer

    replay = await played(Vague())
    [finding] = replay.findings.values()
    assert (finding.phase, finding.weight) == (Phase.MISSING, Weight.DEGRADED)
    assert "KeyStateMissingInKMS" in finding.vcenter


async def test_a_new_key_that_is_not_to_be_used_is_found() -> None:
    """STD-18: only Active keys encrypt, and vCenter activates none but Pre-Active ones."""

    class Closed(ScriptedServer):
        def answer(self, item):  # type: ignore[no-untyped-def]
            answer = super().answer(item)
            for key in self.keys:
                self.keys[key] = State.DEACTIVATED
            return answer

    replay = await played(Closed())
    [finding] = replay.findings.values()
    assert (finding.phase, finding.weight, finding.times) == (Phase.USE, Weight.FAILS, 2)
    assert "and not Active" in finding.error
    assert replay.verdict == "fails"


async def test_a_key_for_everybody_is_found() -> None:
    server = ScriptedServer(keys={NOBODYS: State.ACTIVE})
    [finding] = (await played(server)).findings.values()
    assert finding.error.startswith("Value: for an id")


async def test_servers_of_one_provider_are_to_have_the_same_keys() -> None:
    one, other = ScriptedServer(), ScriptedServer()
    replay = await played(one, other)
    assert replay.verdict == "fails"
    assert {(f.server, f.phase) for f in replay.findings.values()} == {
        ("kms-2:5696", Phase.REFETCH),
        ("kms-2:5696", Phase.STATE),
    }
    both = ScriptedServer(keys=one.keys)
    assert (await played(one, both)).verdict == "works"


async def test_another_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedServer()
    replay = Replay({})
    dialogue = Dialogue(server.connect, cast(Clock, QuickClock()), within_s=5)
    replay.servers["kms:1"] = dialogue
    use = dialogue.use

    async def changing(uid: str):  # type: ignore[no-untyped-def]
        used = await use(uid)
        return used._replace(material=type(used.material)(bytes(32))) if replay.keys else used

    monkeypatch.setattr(dialogue, "use", changing)
    await replay.run(1, 0, no_sleep, tell)
    assert any(f.error.startswith("Value: it is another") for f in replay.findings.values())
    assert replay.verdict == "fails"


async def test_a_soak_makes_keys_and_looks_at_health() -> None:
    server, at = ScriptedServer(), 0.0

    def now() -> float:
        nonlocal at
        at += 10
        return at

    replay = Replay({}, now=now)
    replay.servers["kms:1"] = Dialogue(server.connect, cast(Clock, QuickClock()), within_s=5)
    await replay.run(0, 4 * HEALTH_EVERY_S, no_sleep, tell)
    assert replay.made > 10
    looks = [messages for messages in server.connections if messages == ["DiscoverVersions"] * 2]
    assert len(looks) >= 2 + 1 + 3
