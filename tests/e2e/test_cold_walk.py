"""Walks over all that moves and starts VMs of two vCenters, while anybody falls (``cold_walk``)."""

from __future__ import annotations

import pytest

from tests.e2e.cold_walk import walked

pytestmark = pytest.mark.sim

SHORT = (2, 49, 57, 96)
"""Each showed a defect once, but the first."""


def check(seed: int, *, ha: bool) -> None:
    walk = walked(seed, ha=ha)
    assert not walk.wrong, "\n".join((*walk.story[-400:], *walk.wrong))


@pytest.mark.slow
@pytest.mark.parametrize("seed", SHORT)
def test_a_vm_is_somewhere_once_after_all(seed: int) -> None:
    check(seed, ha=False)


@pytest.mark.slow
def test_it_is_where_its_vcenter_looks_for_it_where_high_availability_restarts_it_too() -> None:
    check(4, ha=True)


@pytest.mark.sweep
@pytest.mark.parametrize("ha", [False, True], ids=["plain", "ha"])
@pytest.mark.parametrize("seed", range(100, 220))
def test_over_many_seeds(seed: int, ha: bool) -> None:
    check(seed, ha=ha)
