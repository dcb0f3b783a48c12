"""Services under load, without room, in the middle of a restart, and with their key server away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protocol.errors import (
    Busy,
    InvalidState,
    KeyProviderUnreachable,
    ProductError,
    SaveFailed,
    WrongKeyLifecycleState,
)
from protocol.messages.agent import NodeRunState, PowerOff, PowerOn
from protocol.messages.attestation import (
    QueryAttestationConfiguration,
    SetAttestationConfiguration,
)
from protocol.messages.host.crypto import AttestHost
from protocol.messages.host.vms import HostCreateVm
from protocol.messages.keyprovider import (
    DecryptWrappedKey,
    GenerateWrappedKey,
    QueryKeyProviderConfiguration,
    SetKeyProviderConfiguration,
    WrappedKeyGenerated,
)
from protocol.messages.kms.keys import CreateKey, Revoke
from protocol.terms import KeyId, NodeName, VmName
from protocol.trust import KeyServerRecord, TrustAttestationStatus, TrustedKeyProvider
from tests.services.esxi.rig import A
from tests.services.trust import prover
from tests.services.trust.rig import AS1, AS2, GROUP, KMS, KPS1, KPS2, TRUSTED, TrustRig

THOUSAND = 1_000


@pytest.fixture
def up(rig: TrustRig) -> TrustRig:
    rig.authority()
    rig.trusted_host()
    rig.command(AttestHost())
    return rig


def token(rig: TrustRig) -> bytes:
    held = rig.host().trust.find_token(GROUP, rig.loop.time())
    assert held is not None
    return held.token


def at_once(rig: TrustRig, messages: list[Any], node: NodeName = KPS1) -> list[Any]:
    """What each of them comes to, all sent by the host at one moment."""
    bus = rig.services[A].bus

    async def all_of_them() -> list[Any]:
        asked = [bus.request(node, message, within_s=600) for message in messages]
        return await asyncio.gather(*asked, return_exceptions=True)

    return rig.run(all_of_them())


def generate(rig: TrustRig, count: int) -> list[WrappedKeyGenerated]:
    """What was made; all others were told that the service is busy, or were refused otherwise."""
    outcomes = at_once(rig, [GenerateWrappedKey(provider=TRUSTED, token=token(rig))] * count)
    made = [found for found in outcomes if isinstance(found, WrappedKeyGenerated)]
    others = [found for found in outcomes if not isinstance(found, WrappedKeyGenerated)]
    assert {type(error) for error in others} <= {Busy, KeyProviderUnreachable}, others[:3]
    assert len(outcomes) == count
    return made


def test_a_thousand_keys_at_once_are_made_or_the_service_is_busy(up: TrustRig) -> None:
    """Each is another key, and comes back for its own ciphertext; the service serves on."""
    made = generate(up, THOUSAND)
    assert len(made) > 100
    keys = [each.plaintext.keys[0].reveal() for each in made]
    assert len(set(keys)) == len({each.ciphertext for each in made}) == len(made)
    back = at_once(
        up,
        [
            DecryptWrappedKey(provider=TRUSTED, token=token(up), ciphertext=each.ciphertext)
            for each in made[:100]
        ],
    )
    assert [each.plaintext.keys[0].reveal() for each in back] == keys[:100]
    assert up.agent.machine(KPS1).runner.internal_errors == 0
    assert len(generate(up, 1)) == 1


@pytest.mark.slow
def test_a_thousand_keys_while_the_key_server_goes_and_comes(up: TrustRig) -> None:
    """What is refused says so; nothing that was made is lost."""
    bus = up.services[A].bus
    message = GenerateWrappedKey(provider=TRUSTED, token=token(up))

    async def one(number: int) -> Any:
        await up.world.sleep(number * 0.01)
        try:
            return await bus.request(KPS1, message, within_s=600)
        except ProductError as error:
            return error

    async def outage() -> None:
        await up.world.sleep(2)
        await up.agent.power_off(PowerOff(node=KMS, way="power_loss"))
        await up.world.sleep(3)
        await up.agent.power_on(PowerOn(node=KMS))

    async def all_of_them() -> list[Any]:
        *outcomes, _ = await asyncio.gather(*(one(n) for n in range(THOUSAND)), outage())
        return outcomes

    outcomes = up.run(all_of_them())
    made = [found for found in outcomes if isinstance(found, WrappedKeyGenerated)]
    refused = [found for found in outcomes if isinstance(found, ProductError)]
    assert {type(error) for error in refused} == {KeyProviderUnreachable}
    assert made and refused and len(made) + len(refused) == THOUSAND
    for each in (made[0], made[-1]):
        asked = DecryptWrappedKey(provider=TRUSTED, token=token(up), ciphertext=each.ciphertext)
        assert up.ask(KPS1, asked, A).plaintext.keys == each.plaintext.keys
    assert up.agent.machine(KPS1).runner.internal_errors == 0


@pytest.mark.parametrize("kept", [False, True])
def test_another_primary_key_opens_what_the_one_before_has_closed(
    rig: TrustRig, kept: bool
) -> None:
    """KPS-05, changed in the midst of a thousand requests."""
    rig.authority(knobs={"kps_primary_key_cache": kept})
    rig.trusted_host()
    rig.command(AttestHost())
    before = generate(rig, 20)
    other = rig.console(CreateKey(operation_id="other", activate=True), KMS).key_id
    rig.ask(KPS1, SetKeyProviderConfiguration(configuration=with_key(rig, other)))
    after = generate(rig, 20)
    assert all(rig.primary.encode() in each.ciphertext for each in before)
    assert all(other.encode() in each.ciphertext for each in after)
    for each in (*before, *after):
        asked = DecryptWrappedKey(provider=TRUSTED, token=token(rig), ciphertext=each.ciphertext)
        assert rig.ask(KPS1, asked, A).plaintext.keys == each.plaintext.keys


def with_key(rig: TrustRig, key_id: KeyId) -> Any:
    servers = (KeyServerRecord(node=KMS, trusted=True),)
    provider = TrustedKeyProvider(provider=TRUSTED, primary_key_id=key_id, servers=servers)
    return rig.key_provider_configuration(providers=(provider,))


def test_a_deactivated_key_that_is_kept_closes_nothing_new(rig: TrustRig) -> None:
    """C14: it was fetched to open, in a state in which it closes nothing."""
    rig.authority(knobs={"kps_primary_key_cache": True})
    rig.trusted_host()
    rig.command(AttestHost())
    [made] = generate(rig, 1)
    rig.console(Revoke(key_id=rig.primary), KMS)
    rig.power_off(KPS1, "crash")
    rig.power_on(KPS1)
    asked = DecryptWrappedKey(provider=TRUSTED, token=token(rig), ciphertext=made.ciphertext)
    assert rig.ask(KPS1, asked, A).plaintext.keys == made.plaintext.keys
    refused = rig.refused(KPS1, GenerateWrappedKey(provider=TRUSTED, token=token(rig)), A)
    assert isinstance(refused, WrongKeyLifecycleState)
    assert rig.ask(KPS1, asked, A).plaintext.keys == made.plaintext.keys


# ---- disks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["full", "fail"])
def test_a_service_without_room_keeps_what_it_has(up: TrustRig, fault: str) -> None:
    """A Key Provider Service needs no room for keys; what it is told anew is refused."""
    attestation = up.ask(AS1, QueryAttestationConfiguration())
    provider = up.ask(KPS1, QueryKeyProviderConfiguration())
    for node in (AS1, KPS1):
        setattr(up.world.stores[node], fault, True)
    emptied = up.attestation_configuration(base_images=())
    refused = up.refused(AS1, SetAttestationConfiguration(configuration=emptied))
    assert isinstance(refused, SaveFailed)
    without = up.key_provider_configuration(providers=())
    refused = up.refused(KPS1, SetKeyProviderConfiguration(configuration=without))
    assert isinstance(refused, SaveFailed)
    assert len(generate(up, 10)) == 10
    for node in (AS1, KPS1):
        setattr(up.world.stores[node], fault, False)
        up.power_off(node, "power_loss")
        up.power_on(node)
    assert up.ask(AS1, QueryAttestationConfiguration()).items == attestation.items
    assert up.ask(KPS1, QueryKeyProviderConfiguration()) == provider


@pytest.mark.parametrize("fault", ["full", "fail"])
def test_no_token_is_issued_for_counters_that_are_not_durable(up: TrustRig, fault: str) -> None:
    """The host asks the other service; when none has room it is not attested, and not refused."""
    setattr(up.world.stores[AS1], fault, True)
    refused = up.refused(AS1, prover.finish(up, prover.begun(up)), A)
    assert isinstance(refused, SaveFailed)
    reports = {r.service: r for r in up.command(AttestHost()).reports}
    assert reports[AS2].status is TrustAttestationStatus.ATTESTED
    assert reports[AS1].status is TrustAttestationStatus.UNKNOWN
    assert "could not save" in reports[AS1].messages[0]
    setattr(up.world.stores[AS2], fault, True)
    reports = {r.service: r for r in up.command(AttestHost()).reports}
    assert {r.status for r in reports.values()} == {TrustAttestationStatus.UNKNOWN}
    for node in (AS1, AS2):
        setattr(up.world.stores[node], fault, False)
    assert prover.attest(up).attested


@pytest.mark.parametrize(("node", "file"), [(KPS1, "configuration"), (KPS1, "identity")])
def test_a_service_whose_file_was_damaged_halts_and_says_why(
    up: TrustRig, node: NodeName, file: str
) -> None:
    """Another identity or an empty configuration in its place would be believed."""
    for place in range(1, 8):
        up.power_off(node, "stop")
        damage(up, node, file, place / 8)
        status = up.power_on(node)
        assert status.state is NodeRunState.HALTED, place
        assert "damaged" in status.screen and "\n" not in status.screen.strip()
        damage(up, node, file, place / 8)  # it is whole again
    assert len(generate_at(up, KPS2)) == 1


def damage(rig: TrustRig, node: NodeName, file: str, part: float) -> None:
    """One bit of it is another one, after so great a part of it."""
    disk = rig.world.stores[node].on_disk
    raw = bytearray(disk.read(file))
    raw[int(len(raw) * part)] ^= 1
    disk.write(file, bytes(raw))


def generate_at(rig: TrustRig, node: NodeName) -> list[Any]:
    return [rig.ask(node, GenerateWrappedKey(provider=TRUSTED, token=token(rig)), A)]


# ---- between the two phases ---------------------------------------------------------------------


@pytest.mark.parametrize("way", ["stop", "crash", "power_loss"])
def test_a_service_that_restarts_in_the_middle_is_asked_again(up: TrustRig, way: str) -> None:
    """The host has a context of the life before; nothing is left of it, and it begins again."""
    up.stop_services(AS2)
    service: Any = up.services[AS1]
    begin = service.begin
    lives: list[int] = []

    async def then_down(message: Any, peer: Any) -> Any:
        answer = await begin(message, peer)
        if not lives:
            lives.append(service.node.boot)
            up.world.spawn(None, "restart", restart())
        return answer

    async def restart() -> None:
        await up.agent.power_off(PowerOff(node=AS1, way=way))
        await up.agent.power_on(PowerOn(node=AS1))

    service.begin = then_down
    first = up.command(AttestHost()).reports[0]
    up.sleep(5)
    assert up.services[AS1].node.boot == lives[0] + 1
    assert first.status in (TrustAttestationStatus.UNKNOWN, TrustAttestationStatus.ATTESTED)
    assert up.command(AttestHost()).reports[0].status is TrustAttestationStatus.ATTESTED
    up.make_safe_trusted()
    up.command(HostCreateVm(vm=VmName("vm"), blocks=8, provider=TRUSTED))


def test_a_context_of_the_life_before_is_begun_again_by_the_host(up: TrustRig) -> None:
    """One service is all there is: it says so, and the host does as it is told."""
    up.stop_services(AS2)
    service: Any = up.services[AS1]
    finish = service.finish
    told: list[Any] = []

    async def another_life(message: Any, peer: Any) -> Any:
        if not told:
            told.append(message)
            raise InvalidState("context: not issued by this service; begin again")
        return await finish(message, peer)

    service.finish = another_life
    assert up.command(AttestHost()).reports[0].status is TrustAttestationStatus.ATTESTED
