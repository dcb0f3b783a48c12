"""Virtual TPMs in pooled instances: the same body for both backends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName
from protocol.tpm.errors import RC_FAILURE, RC_HANDLE_1, RC_INTEGRITY_1, TpmError, TpmErrorKind
from protocol.tpm.event_log import event_digest, extend_pcr
from protocol.tpm.quote import parse_attest, policy_pcr_digest
from protocol.tpm.structures import PCR_SECURE_BOOT, EkKind, EventType, MeasuredEvent, PcrSelection
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.tpm.device import ForeignImage
from services.runtime.tpm.port import InlineRunner, PoolRunner
from services.runtime.tpm.virtual import VirtualTpmPool, VirtualTpmsPort
from services.runtime.virtual_tpm import VirtualTpmCommands, VirtualTpmState

EVENT = MeasuredEvent(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot=1")
INDEX = 0x01800100


@pytest.fixture
def pool(backend: TpmBackend) -> Iterator[VirtualTpmPool]:
    made = VirtualTpmPool(backend)
    yield made
    made.close()


def started(pool: VirtualTpmPool) -> VirtualTpmState:
    state, _ = pool.run_command(pool.manufacture(), boot)
    return state


def boot(tpm: VirtualTpmCommands) -> None:
    tpm.power_on()
    tpm.extend_log([EVENT])
    tpm.ensure_srk()


def policy(tpm: VirtualTpmCommands) -> bytes:
    return policy_pcr_digest(PCR_SECURE_BOOT, tpm.pcrs(PCR_SECURE_BOOT))


def test_memory_goes_on_from_command_to_command(pool: VirtualTpmPool) -> None:
    """PCRs, counters and what was sealed: as one TPM that never left its instance."""
    state = started(pool)
    state, blob = pool.run_command(state, lambda tpm: tpm.seal(b"secret", policy(tpm)))
    more = MeasuredEvent(16, EventType.IPL, b"x")
    state, _ = pool.run_command(state, lambda tpm: tpm.extend_log([more]))
    state, value = pool.run_command(state, lambda tpm: tpm.counter(INDEX, bump=True))
    state, secret = pool.run_command(state, lambda tpm: tpm.unseal(blob, PCR_SECURE_BOOT))
    _, pcrs = pool.run_command(state, lambda tpm: tpm.pcrs(PcrSelection((7, 16))))
    assert secret == b"secret"
    assert value == 1
    assert pcrs[16] == extend_pcr(bytes(32), event_digest(more))
    assert pcrs[7] == extend_pcr(bytes(32), event_digest(EVENT))
    assert pool.opened == 1


def test_two_vtpms_in_one_instance_share_nothing(pool: VirtualTpmPool) -> None:
    """Each has its own keys; what one sealed the other does not open, in whatever order."""
    one, other = started(pool), started(pool)
    one, blob = pool.run_command(one, lambda tpm: tpm.seal(b"secret", policy(tpm)))
    with pytest.raises(TpmError) as refused:
        pool.run_command(other, lambda tpm: tpm.unseal(blob, PCR_SECURE_BOOT))
    assert refused.value.rc == RC_INTEGRITY_1
    keys = [
        pool.run_command(state, lambda tpm: (tpm.ek(EkKind.ECC_P256)[0], tpm.ak()[1]))[1]
        for state in (one, other, one)
    ]
    assert keys[0] == keys[2]
    assert keys[0][0] != keys[1][0] and keys[0][1] != keys[1][1]
    assert pool.opened == 1


def test_without_memory_it_has_no_power(pool: VirtualTpmPool) -> None:
    """After a power cut: PCRs are gone, NV stays, and the next start counts as unsafe."""
    state = started(pool)
    state, _ = pool.run_command(state, lambda tpm: tpm.nv_write(INDEX, b"kept"))
    cut = state.without_power()
    with pytest.raises(TpmError) as refused:
        pool.run_command(cut, lambda tpm: tpm.pcrs(PCR_SECURE_BOOT))
    assert refused.value.kind is TpmErrorKind.GONE

    def again(tpm: VirtualTpmCommands) -> tuple[bytes, bytes, int | None]:
        tpm.power_on()
        value = tpm.pcrs(PCR_SECURE_BOOT)[7]
        return value, tpm.nv_read(INDEX), tpm.info().reset_count

    _, before = pool.run_command(state, lambda tpm: tpm.info().reset_count)
    _, (pcr, kept, resets) = pool.run_command(cut, again)
    assert pcr == bytes(32)
    assert kept == b"kept"
    assert before is not None and resets == before + 1


def test_a_command_that_fails_changes_nothing_and_leaves_no_trace(pool: VirtualTpmPool) -> None:
    """The state given stays what it was; the next vTPM in that instance sees nothing of it."""
    state = started(pool)

    def half(tpm: VirtualTpmCommands) -> None:
        tpm.counter(INDEX, bump=True)
        tpm.nv_read(INDEX + 1)

    with pytest.raises(TpmError) as refused:
        pool.run_command(state, half)
    assert refused.value.rc == RC_HANDLE_1
    _, value = pool.run_command(state, lambda tpm: tpm.counter(INDEX, bump=True))
    assert value == 1


def test_an_older_state_is_told_by_its_counters(pool: VirtualTpmPool) -> None:
    """A TPM does not notice that its state was put back; who saw a later quote does."""

    def quoted(tpm: VirtualTpmCommands) -> int:
        tpm.power_on()
        return parse_attest(tpm.quote(PCR_SECURE_BOOT, b"nonce").attest).reset_count

    old = started(pool).without_power()
    newer, first = pool.run_command(old, quoted)
    _, second = pool.run_command(newer.without_power(), quoted)
    _, again = pool.run_command(old, quoted)
    assert second == first + 1
    assert again == first


def test_damaged_memory_and_foreign_states_are_refused(
    pool: VirtualTpmPool, backend: TpmBackend
) -> None:
    state = started(pool)
    with pytest.raises(TpmError) as refused:
        pool.run_command(VirtualTpmState(state.nv, state.memory[:40]), lambda tpm: tpm.ak())
    assert refused.value.rc == RC_FAILURE
    _, name = pool.run_command(state, lambda tpm: tpm.ak()[1])
    assert name
    with pytest.raises(ForeignImage):
        pool.run_command(VirtualTpmState(b"no image"), lambda tpm: None)


def test_nothing_secret_is_shown(pool: VirtualTpmPool) -> None:
    state = started(pool)
    assert "nv" not in repr(state) and str(state.nv)[2:40] not in repr(state)


async def _no_time(seconds: float) -> None:
    pass


def test_commands_of_many_vtpms_at_once(pool: VirtualTpmPool) -> None:
    """Threads of a pool take instances of their own, never the same one."""

    async def body() -> None:
        runner = PoolRunner()
        port = VirtualTpmsPort(pool, Incarnation(NodeName("esxi-001"), 1), runner)
        states = [await port.manufacture() for _ in range(8)]

        async def life(state: VirtualTpmState, number: int) -> bytes:
            state, _ = await port.run_command(state, "vtpm.power_on", boot)
            secret = f"secret {number}".encode()
            state, blob = await port.run_command(
                state, "vtpm.seal", lambda tpm: tpm.seal(secret, policy(tpm))
            )
            for _ in range(3):
                state, _ = await port.run_command(
                    state, "vtpm.count", lambda tpm: tpm.counter(INDEX, bump=True)
                )
            state, found = await port.run_command(
                state, "vtpm.unseal", lambda tpm: tpm.unseal(blob, PCR_SECURE_BOOT)
            )
            return found

        found = await asyncio.gather(*(life(state, n) for n, state in enumerate(states)))
        assert found == [f"secret {n}".encode() for n in range(8)]
        assert 1 <= pool.opened <= 4
        runner.close()

    asyncio.run(body())


def test_an_ended_life_commands_nothing(pool: VirtualTpmPool) -> None:
    async def body() -> None:
        life = Incarnation(NodeName("esxi-001"), 1)
        port = VirtualTpmsPort(pool, life, InlineRunner(_no_time))
        state = await port.manufacture()
        life.end(WayDown.CRASH)
        with pytest.raises(NodeDown):
            await port.run_command(state, "vtpm.power_on", boot)

    asyncio.run(body())
