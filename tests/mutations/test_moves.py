"""Planted bugs of moves between vCenters: who strikes in the midst of one sees them (MOB-07)."""

from __future__ import annotations

import pytest

from lab.client import Lab
from tests.lab.api.relocation_struck import STEPS, amiss, struck
from tests.lab.api.test_relocation import VM, two_vcenters
from tests.mutations.mobility import IN_MOVES

pytestmark = [pytest.mark.sim, pytest.mark.slow]

SEEN = (
    ("arrival_taken_for_news", "power_loss target", False, "not one owner"),
    ("old_word_of_a_departure", "cut leaving-source", True, "not one registration"),
)


@pytest.mark.parametrize(("bug", "what", "off", "told"), SEEN)
async def test_the_bug_is_seen(bug: str, what: str, off: bool, told: str) -> None:
    for patch in ("", f"tests.mutations.bugs:{bug}"):
        found: list[str] = []
        async with Lab(topology=two_vcenters(), mode="sim", seed=11, patch=patch) as lab:
            for step in STEPS:
                found = amiss(await lab.beside(struck, VM, what, step, off))
                if found:
                    break
        assert (told in found) is bool(patch), (patch, found)


def test_all_of_them_are_here() -> None:
    assert {bug for bug, *_ in SEEN} == IN_MOVES
