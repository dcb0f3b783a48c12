"""Faults of single hosts: a staging is void when one of them does not bite, or does not go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from chaos.history import History
from chaos.matrix.faults import boots
from chaos.matrix.scene import Book
from chaos.matrix.terms import Variant
from protocol.terms import NodeName

ONE, TWO = NodeName("esxi-001"), NodeName("esxi-002")
ON_HOSTS = (boots.PolicyViolated, boots.OtherMeasure, boots.TpmGone)


class Driven:
    """A fault of one host; ``WRONG`` has what the harness sees of those of ``host``."""

    WRONG: ClassVar[dict[NodeName, str]] = {}

    def __init__(self, scene: Any, fault: Any) -> None:
        self.fault = fault

    async def survey(self) -> None:
        """Nothing is to be put back."""

    async def begin(self) -> None:
        """Nothing is changed."""

    async def bites(self) -> str:
        [host] = self.fault.touches()
        return self.WRONG.get(host, "")

    verify_heal = bites


@pytest.mark.parametrize("of", ON_HOSTS)
@pytest.mark.parametrize("wrong", [{}, {ONE: "it is not set"}, {TWO: "it is not set"}])
async def test_a_fault_that_is_latent_bites_at_each_of_its_hosts(
    of: type[boots.FaultOfHosts], wrong: dict[NodeName, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boots, "DrivenFault", Driven)
    monkeypatch.setattr(Driven, "WRONG", wrong)
    history = History(None, lambda: 0.0)
    scene: Any = SimpleNamespace(variant=Variant.USUAL, book=Book(history))
    made = of(scene)
    for host in (ONE, TWO):
        await made.make_latent(host)
    assert [one.node for one in history.records] == [ONE, TWO]
    told = await made.bites()
    assert told.endswith("it is not set" if wrong else "") and bool(told) is bool(wrong)
    assert (await made.verify_heal()) == ("it is not set" if wrong else "")
    for host in (ONE, TWO):
        assert await made.verify_on_host(host) == wrong.get(host, "")


def test_a_history_that_is_full_has_no_number_for_a_record() -> None:
    full = Book(History(None, lambda: 0.0, limit=0))
    assert full.write("note", "", "t0") == 0
    trail = full.trail("e1")
    assert trail.write("probe", ONE, "vm") == 0
    room = Book(History(None, lambda: 0.0))
    assert [room.write("note", "", "t0"), room.trail("e1").write("probe", ONE, "vm")] == [1, 2]
