"""Random walks over snapshots, reverts, clones and what disturbs them: each VM holds what a model
says, nothing is left over, and nothing of an encrypted VM is in clear (VTPM-08, CLN-01, REK-02)."""

from __future__ import annotations

from functools import cache

import pytest

from tests.services.esxi.copies_faults import FAULTS
from tests.services.esxi.copies_walk import Walk

STEPS = 80


@cache
def walked(seed: int) -> tuple[str, ...]:
    """What was done in a walk, which has come to its end."""
    walk = Walk(seed)
    try:
        for _ in range(STEPS):
            walk.step()
    except BaseException as error:
        error.add_note("\n".join(walk.log[-20:]))
        raise
    finally:
        walk.rig.close()
    return tuple(walk.log)


@pytest.mark.parametrize("seed", range(8))
def test_every_vm_holds_what_the_model_says(seed: int) -> None:
    walked(seed)


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(100, 400))
def test_and_over_many_seeds(seed: int) -> None:
    walked(seed)


@pytest.mark.slow
def test_the_walks_come_by_all_that_they_are_for() -> None:
    """A walk in which nothing is disturbed, or nothing goes back, would find nothing."""
    log = "\n".join(line for seed in range(8) for line in walked(seed))
    words = (
        *("HostRevertToSnapshot", "HostCloneVm", "HostCreateSnapshot", "HostRemoveSnapshot"),
        *("HostRecryptVm", "EncryptionKeyRequired", "moves to", "at once", "has snapshots ("),
        *("other bytes -> DatastoreFault", "other bytes -> GuestFault", "virtual TPM counts"),
        *("No space left", "TimedOut", *FAULTS),
    )
    for word in words:
        assert word in log, word
