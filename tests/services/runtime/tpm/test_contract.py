"""One body for both backends: what a TPM does, and the exact codes with which it refuses."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import InvalidArgument
from protocol.messages.agent import TpmBackend
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.event_log import initial_pcr, parse_log, replay
from protocol.tpm.public import keyedhash_public
from protocol.tpm.quote import policy_pcr_digest, verify_quote
from protocol.tpm.structures import (
    PCR_QUOTED,
    PCR_SECURE_BOOT,
    EkKind,
    EventType,
    MeasuredEvent,
    PcrSelection,
    SealedBlob,
)
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import MemoryNv, TpmDevice
from tests.services.runtime.tpm.boots import (
    ALL,
    EVENTS,
    SECRET,
    Maker,
    boot,
    booted,
    refused,
    sealed,
)

COUNTER, INDEX = 0x01800010, 0x01800020

# ---- measuring ----------------------------------------------------------------------------------


def test_log_replays_to_the_pcrs(tpm: TpmDevice) -> None:
    log = boot(tpm)
    assert parse_log(log)[2].body == b"SecureBoot on"
    assert replay(parse_log(log), ALL) == tpm.pcrs(ALL)
    assert tpm.pcrs(PcrSelection((5,)))[5] == bytes(32)


def test_boot_code_cannot_extend_the_pcrs_of_a_dynamic_launch(tpm: TpmDevice) -> None:
    tpm.power_on()
    for pcr in range(17, 23):
        event = MeasuredEvent(pcr, EventType.IPL, b"launch")
        assert refused(lambda: tpm.extend_log([EVENTS[1], event]))[0] == 0x907  # noqa: B023
    values = tpm.pcrs(ALL)
    assert values == replay([EVENTS[1]] * 6, ALL)


def test_power_cycle_resets_pcrs(tpm: TpmDevice) -> None:
    boot(tpm)
    tpm.cut_power()
    tpm.power_on()
    assert tpm.pcrs(ALL) == {pcr: initial_pcr(pcr) for pcr in range(24)}


def test_two_boots_of_the_same_measure_the_same(tpm: TpmDevice) -> None:
    first = boot(tpm)
    values = tpm.pcrs(ALL)
    tpm.power_off(orderly=True)
    assert boot(tpm) == first
    assert tpm.pcrs(ALL) == values


# ---- sealing ------------------------------------------------------------------------------------


def test_unseals_in_the_next_boot(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET
    tpm.power_off(orderly=True)
    boot(tpm)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


def test_seals_for_expected_values_of_a_boot_to_come(tpm: TpmDevice) -> None:
    planned = (*EVENTS, MeasuredEvent(7, EventType.EFI_ACTION, b"new firmware"))
    boot(tpm)
    policy = policy_pcr_digest(PCR_SECURE_BOOT, replay(planned, PCR_SECURE_BOOT))
    blob = tpm.seal(SECRET, policy)
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == (0x99D, TpmErrorKind.POLICY)
    tpm.power_off(orderly=True)
    boot(tpm, planned)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


def test_changed_pcr_is_a_policy_failure(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    tpm.extend_log([MeasuredEvent(7, EventType.EFI_ACTION, b"something else")])
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == (0x99D, TpmErrorKind.POLICY)
    tpm.power_off(orderly=True)
    other = (MeasuredEvent(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot off"),)
    boot(tpm, other)
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == (0x99D, TpmErrorKind.POLICY)


def test_pcr_outside_of_the_policy_does_not_matter(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    tpm.extend_log([MeasuredEvent(5, EventType.EFI_ACTION, b"not covered")])
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


def test_other_selection_is_a_policy_failure(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    for pcrs in ((6,), (4, 7)):
        other = PcrSelection(pcrs)
        assert refused(lambda: tpm.unseal(blob, other)) == (0x99D, TpmErrorKind.POLICY)  # noqa: B023


def test_policy_over_many_pcrs(tpm: TpmDevice) -> None:
    boot(tpm)
    blob = sealed(tpm, ALL)
    assert tpm.unseal(blob, ALL) == SECRET


def test_blob_does_not_show_the_secret(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    again = sealed(tpm)
    for half in (SECRET[:8], SECRET[8:16], SECRET[-8:]):
        assert half not in blob.private + blob.public + tpm.snapshot()
    assert blob.private != again.private
    policy = policy_pcr_digest(PCR_SECURE_BOOT, tpm.pcrs(PCR_SECURE_BOOT))
    assert blob.public == keyedhash_public(policy, blob.public[-32:]).raw


@pytest.mark.parametrize("size", [1, 32, 128])
def test_secret_sizes(tpm: TpmDevice, size: int) -> None:
    boot(tpm)
    policy = policy_pcr_digest(PCR_SECURE_BOOT, tpm.pcrs(PCR_SECURE_BOOT))
    assert tpm.unseal(tpm.seal(b"k" * size, policy), PCR_SECURE_BOOT) == b"k" * size


def test_refuses_to_seal_what_no_tpm_seals(tpm: TpmDevice) -> None:
    boot(tpm)
    for secret, policy in ((b"", bytes(32)), (bytes(129), bytes(32)), (SECRET, b"")):
        with pytest.raises(ValueError):
            tpm.seal(secret, policy)


def test_altered_blob_fails_its_integrity(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    integrity = (0x1DF, TpmErrorKind.INTEGRITY)
    for position in range(0, len(blob.private), 7):
        flipped = bytearray(blob.private)
        flipped[position] ^= 0x10
        bad = SealedBlob(bytes(flipped), blob.public)
        rc, kind = refused(lambda: tpm.unseal(bad, PCR_SECURE_BOOT))  # noqa: B023
        # The first bytes are libtpms' own lengths: it names those it cannot read.
        assert kind is TpmErrorKind.INTEGRITY or (position < 2 and rc in (0x1D5, 0x1DA))
    assert refused(lambda: tpm.unseal(_with(blob, private=blob.private[:-1]), PCR_SECURE_BOOT)) == (
        integrity
    )
    # Another policy, under which it would open: the public part is bound to the private one.
    easy = keyedhash_public(policy_pcr_digest(PcrSelection((5,)), {5: bytes(32)}), b"\x01" * 32)
    opener = _with(blob, public=easy.raw)
    assert refused(lambda: tpm.unseal(opener, PcrSelection((5,)))) == integrity


def test_junk_for_a_blob(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    for private, public, rc in (
        (b"", blob.public, 0x1D5),
        (bytes(49), blob.public, 0x1D5),
        (bytes(513), blob.public, 0x1D5),
        (blob.private, b"", 0x2D5),
        (blob.private, blob.public[:-1], 0x2D5),
        (blob.private, blob.public + b"\0", 0x2D5),
        (blob.private, tpm.ak()[0].raw, 0x2D5),
    ):
        junk = SealedBlob(private, public)
        assert refused(lambda: tpm.unseal(junk, PCR_SECURE_BOOT))[0] == rc  # noqa: B023
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


def _with(blob: SealedBlob, **changes: bytes) -> SealedBlob:
    return msgspec.structs.replace(blob, **changes)


# ---- clear, swap, rollback ----------------------------------------------------------------------


def test_cleared_tpm_has_lost_the_root_key_and_the_blob(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    srk = tpm.ensure_srk()
    tpm.power_off(orderly=True)
    tpm.clear()
    assert not tpm.powered
    tpm.power_on()
    tpm.extend_log(EVENTS)
    handle = (0x18B, TpmErrorKind.HANDLE)
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == handle
    assert refused(lambda: tpm.seal(SECRET, bytes(32))) == handle
    assert tpm.ensure_srk() != srk
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == (0x1DF, TpmErrorKind.INTEGRITY)
    assert tpm.unseal(sealed(tpm), PCR_SECURE_BOOT) == SECRET


def test_clear_under_power(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    values = tpm.pcrs(ALL)
    tpm.clear()
    assert tpm.pcrs(ALL) == values
    assert tpm.info().reset_count == 0
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT))[0] == 0x18B
    tpm.ensure_srk()
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT))[0] == 0x1DF


def test_clear_keeps_the_endorsement_keys_and_takes_nv(tpm: TpmDevice) -> None:
    boot(tpm)
    ek, ak, digest = tpm.ek(EkKind.ECC_P256), tpm.ak(), tpm.ek_digest()
    value = tpm.counter(COUNTER, bump=True)
    tpm.nv_write(INDEX, b"owner's")
    tpm.clear()
    assert (tpm.ek(EkKind.ECC_P256), tpm.ak(), tpm.ek_digest()) == (ek, ak, digest)
    assert refused(lambda: tpm.counter(COUNTER)) == (0x18B, TpmErrorKind.HANDLE)
    assert refused(lambda: tpm.nv_read(INDEX)) == (0x18B, TpmErrorKind.HANDLE)
    assert tpm.counter(COUNTER, bump=True) > value


def test_a_leftover_in_the_place_of_the_root_key_seals_nothing_until_it_is_cleared(
    tpm: TpmDevice,
) -> None:
    blob = booted(tpm)
    srk, digest = tpm.ensure_srk(), tpm.ek_digest()
    tpm.power_off(orderly=True)
    tpm.occupy()
    boot(tpm)
    assert tpm.ensure_srk() == tpm.srk_name() != srk
    assert refused(lambda: tpm.seal(SECRET, bytes(32))) == (0x182, TpmErrorKind.OTHER)
    refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT))
    tpm.clear()
    assert tpm.ek_digest() == digest and tpm.srk_name() is None
    tpm.ensure_srk()
    assert tpm.unseal(sealed(tpm), PCR_SECURE_BOOT) == SECRET


def test_swapped_tpm_is_another_one(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    digest, (ak, _) = tpm.ek_digest(), tpm.ak()
    tpm.swap()
    assert not tpm.powered
    assert tpm.ek_digest() != digest
    tpm.power_on()
    tpm.extend_log(EVENTS)
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == (0x18B, TpmErrorKind.HANDLE)
    tpm.ensure_srk()
    assert refused(lambda: tpm.unseal(blob, PCR_SECURE_BOOT)) == (0x1DF, TpmErrorKind.INTEGRITY)
    assert tpm.ak()[0] != ak


def test_blob_of_one_tpm_does_not_open_in_another(make: Maker) -> None:
    one, other = make(), make()
    blob = booted(one)
    boot(other)
    assert refused(lambda: other.unseal(blob, PCR_SECURE_BOOT)) == (0x1DF, TpmErrorKind.INTEGRITY)
    assert one.unseal(blob, PCR_SECURE_BOOT) == SECRET


def test_rolled_back_nv_is_not_noticed_but_the_quote_shows_it(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    before = tpm.counter(COUNTER, bump=True)
    image = tpm.snapshot()
    for _ in range(3):
        tpm.power_off(orderly=True)
        tpm.power_on()
    assert tpm.counter(COUNTER, bump=True) == before + 1
    seen = verify_quote(tpm.ak()[0], tpm.quote(PCR_QUOTED, b"n"), b"n", PCR_QUOTED)
    tpm.restore(image)
    assert not tpm.powered
    boot(tpm)
    assert tpm.counter(COUNTER) == before
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET
    now = verify_quote(tpm.ak()[0], tpm.quote(PCR_QUOTED, b"n"), b"n", PCR_QUOTED)
    assert now.reset_count < seen.reset_count


def test_rollback_over_a_swap_brings_the_old_tpm_back(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    digest = tpm.ek_digest()
    image = tpm.snapshot()
    tpm.swap()
    tpm.restore(image)
    assert tpm.ek_digest() == digest
    boot(tpm)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


# ---- power --------------------------------------------------------------------------------------


def test_nothing_works_without_power(tpm: TpmDevice) -> None:
    assert not tpm.powered
    for call in (
        lambda: tpm.pcrs(ALL),
        lambda: tpm.extend_log(EVENTS),
        tpm.ensure_srk,
        lambda: tpm.seal(SECRET, bytes(32)),
        tpm.ak,
        lambda: tpm.counter(COUNTER, bump=True),
        tpm.info,
    ):
        assert refused(call)[1] is TpmErrorKind.GONE
    tpm.power_off(orderly=True)
    tpm.cut_power()


def test_second_power_on_is_refused_and_keeps_the_pcrs(tpm: TpmDevice) -> None:
    boot(tpm)
    values = tpm.pcrs(ALL)
    assert refused(tpm.power_on)[0] == 0x100
    assert tpm.pcrs(ALL) == values


def test_unclean_cycles_are_told_and_do_not_lock_out(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    assert tpm.info().safe
    resets = tpm.info().reset_count
    assert resets is not None
    for cycle in range(1, 9):
        tpm.cut_power()
        boot(tpm)
        assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET
        info = tpm.info()
        assert (info.reset_count, info.safe) == (resets + cycle, False)
        assert (info.lockout, info.lockout_counter) == (False, 0)


def test_orderly_cycles_stay_safe(tpm: TpmDevice) -> None:
    tpm.power_on()
    for _ in range(4):
        tpm.power_off(orderly=True)
        tpm.power_on()
        assert tpm.info().safe


def test_info_counts_cycles_and_time(tpm: TpmDevice, backend: TpmBackend) -> None:
    tpm.power_on()
    first = tpm.info()
    assert (first.backend, first.failed, first.restart_count) == (backend.value, False, 0)
    assert first.max_tries == 3
    tpm.power_off(orderly=True)
    tpm.power_on()
    second = tpm.info()
    assert first.reset_count is not None and second.reset_count == first.reset_count + 1
    assert first.clock is not None and second.clock is not None and second.clock >= first.clock


def test_resets_are_counted_from_the_makers_on(tpm: TpmDevice) -> None:
    """The maker starts it twice: PCR banks are chosen, and in force from the next power-on."""

    def resets() -> int | None:
        tpm.power_on()
        count = tpm.info().reset_count
        tpm.power_off(orderly=True)
        return count

    assert [resets(), resets()] == [3, 4]
    tpm.cut_power()
    assert resets() == 5
    tpm.lockout()  # a command of the lab gives it power for that long
    assert resets() == 7
    tpm.clear()
    assert resets() == 1
    tpm.power_on()
    tpm.clear()
    assert tpm.info().reset_count == 0
    tpm.swap()
    assert resets() == 3


# ---- lockout and failure ------------------------------------------------------------------------


@pytest.mark.parametrize("powered", [True, False])
def test_locked_out_tpm_still_unseals(tpm: TpmDevice, powered: bool) -> None:
    """Root key and blob are exempt (noDA)."""
    blob = booted(tpm)
    if not powered:
        tpm.power_off(orderly=True)
    tpm.lockout()
    assert tpm.powered is powered
    if not powered:
        boot(tpm)
    info = tpm.info()
    assert (info.lockout, info.lockout_counter) == (True, info.max_tries)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET
    tpm.lockout()
    tpm.cut_power()
    boot(tpm)
    assert tpm.info().lockout
    tpm.clear()
    assert (tpm.info().lockout, tpm.info().lockout_counter) == (False, 0)


def test_failing_nv_is_failure_mode_until_repaired_and_cycled(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    failure = (0x101, TpmErrorKind.FAILURE)
    tpm.fail_nv(True)
    for call in (
        lambda: tpm.unseal(blob, PCR_SECURE_BOOT),
        lambda: tpm.pcrs(ALL),
        lambda: tpm.extend_log([]),
        lambda: tpm.extend_log([MeasuredEvent(0, EventType.NO_ACTION, b"")]),
        lambda: tpm.extend_log([MeasuredEvent(0, EventType.IPL, b"late")]),
        tpm.ensure_srk,
        lambda: tpm.counter(COUNTER, bump=True),
        tpm.lockout,
        tpm.power_on,
    ):
        assert refused(call) == failure
    assert tpm.info().failed
    tpm.fail_nv(False)
    assert tpm.info().failed
    tpm.power_off(orderly=True)
    assert not tpm.powered
    boot(tpm)
    assert not tpm.info().failed
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


def test_tpm_whose_nv_fails_does_not_start(tpm: TpmDevice) -> None:
    blob = booted(tpm)
    image = tpm.snapshot()
    tpm.power_off(orderly=True)
    tpm.fail_nv(True)
    assert not tpm.powered
    assert refused(tpm.power_on) == (0x101, TpmErrorKind.FAILURE)
    assert tpm.info().failed  # only a TPM with power tells
    tpm.cut_power()
    assert refused(tpm.clear) == (0x101, TpmErrorKind.FAILURE)
    assert not tpm.powered
    tpm.fail_nv(False)
    boot(tpm)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET
    assert image != tpm.snapshot()


def test_swap_replaces_a_failed_tpm(tpm: TpmDevice) -> None:
    boot(tpm)
    tpm.fail_nv(True)
    tpm.swap()
    boot(tpm)
    assert not tpm.info().failed


@pytest.mark.parametrize("missing", [1, 40])
def test_truncated_nv_image_is_failure_mode(tpm: TpmDevice, missing: int) -> None:
    blob = booted(tpm)
    image = tpm.snapshot()
    digest = tpm.ek_digest()
    tpm.restore(image[:-missing])
    assert refused(tpm.power_on) == (0x101, TpmErrorKind.FAILURE)
    assert tpm.info().failed
    assert refused(tpm.ensure_srk) == (0x101, TpmErrorKind.FAILURE)
    assert tpm.ek_digest() == digest
    tpm.restore(image)
    boot(tpm)
    assert tpm.unseal(blob, PCR_SECURE_BOOT) == SECRET


# ---- NV -----------------------------------------------------------------------------------------


def test_counter_only_rises(tpm: TpmDevice) -> None:
    tpm.power_on()
    assert refused(lambda: tpm.counter(COUNTER)) == (0x18B, TpmErrorKind.HANDLE)
    first = tpm.counter(COUNTER, bump=True)
    assert first >= 1
    assert tpm.counter(COUNTER) == first
    tpm.cut_power()
    tpm.power_on()
    assert tpm.counter(COUNTER) == first
    assert tpm.counter(COUNTER, bump=True) == first + 1
    assert refused(lambda: tpm.nv_write(COUNTER, bytes(8)))[0] == 0x82
    assert refused(lambda: tpm.nv_write(COUNTER, bytes(9)))[0] == 0x82
    assert tpm.counter(COUNTER) == first + 1


def test_a_new_counter_begins_above_those_that_are_gone(tpm: TpmDevice) -> None:
    tpm.power_on()
    assert [tpm.counter(COUNTER, bump=True) for _ in range(3)] == [1, 2, 3]
    assert [tpm.counter(COUNTER + 1, bump=True) for _ in range(2)] == [1, 2]
    tpm.cut_power()
    tpm.power_on()
    assert tpm.counter(COUNTER + 2, bump=True) == 1
    tpm.clear()
    assert refused(lambda: tpm.counter(COUNTER)) == (0x18B, TpmErrorKind.HANDLE)
    assert tpm.counter(COUNTER + 1, bump=True) == 4
    assert tpm.counter(COUNTER, bump=True) == 4
    tpm.cut_power()
    tpm.clear()
    tpm.power_on()
    assert tpm.counter(COUNTER, bump=True) == 5


def test_nv_holds_what_was_written(tpm: TpmDevice) -> None:
    tpm.power_on()
    assert refused(lambda: tpm.nv_read(INDEX)) == (0x18B, TpmErrorKind.HANDLE)
    for data in (b"x", b"y", bytes(range(256)) * 8, b"shorter"):
        tpm.nv_write(INDEX, data)
        assert tpm.nv_read(INDEX) == data
    tpm.cut_power()
    tpm.power_on()
    assert tpm.nv_read(INDEX) == b"shorter"
    assert refused(lambda: tpm.counter(INDEX, bump=True))[0] == 0x282
    assert refused(lambda: tpm.counter(INDEX))[0] == 0x146


def test_nv_fills_up(tpm: TpmDevice) -> None:
    tpm.power_on()
    room = 0
    with pytest.raises(TpmError) as full:
        for room in range(200):
            tpm.nv_write(INDEX + room, bytes(2048))
    assert full.value.rc == 0x14B
    assert 60 < room < 75
    assert tpm.nv_read(INDEX) == bytes(2048)


def test_nv_index_and_size_must_be_the_owners(tpm: TpmDevice) -> None:
    tpm.power_on()
    for index, data in ((0x01C00002, b"x"), (0x81000001, b"x"), (INDEX, b""), (INDEX, bytes(2049))):
        with pytest.raises(ValueError):
            tpm.nv_write(index, data)


def test_backend_none_has_no_device() -> None:
    with pytest.raises(InvalidArgument):
        open_device(TpmBackend.NONE, MemoryNv())


def test_close_is_final_and_repeatable(make: Maker) -> None:
    tpm = make()
    tpm.power_on()
    tpm.close()
    tpm.close()
    assert not tpm.powered
