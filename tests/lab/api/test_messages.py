"""``get messages``: what travels, without keys, in a lab of either mode."""

from __future__ import annotations

from typing import Literal

import pytest

from lab.client import Lab
from lab.core import LabCore
from lab.scan.search import SearchedPlace
from lab.schema import commands as c
from lab.schema.answers import MessageKind
from lab.schema.errors import KeysteadError

MODES = [
    pytest.param("sim", marks=pytest.mark.sim),
    pytest.param("lab", marks=pytest.mark.lab),
]


async def leaks_in(lab: LabCore, data: bytes) -> list[str]:
    """Where a secret of the lab lies in these bytes."""
    assert lab.watch is not None
    found = lab.watch.search_places([SearchedPlace("page", "answer", data)])
    assert found.secrets > 0
    return list(found.hits)


@pytest.mark.parametrize("mode", MODES)
async def test_messages_of_the_bus_are_shown_without_keys(mode: Literal["sim", "lab"]) -> None:
    async with Lab(mode, hosts=2, vms=1, tpm="none", pace=100, seed=3, watched=True) as lab:
        first = await lab.do(c.GetMessages())
        assert first.began and first.remarks()
        await lab.do(c.VmRecrypt("vm-01"))
        found = await lab.do(c.GetMessages(limit=1000))
        assert not found.began and found.last >= found.items[-1].number
        names = {(one.src, one.dst, one.name) for one in found.items}
        assert ("vcenter", "kms", "CreateKey") in names
        assert ("vcenter", "", "VcEvent") in names
        created = next(one for one in found.items if one.name == "KeyCreated")
        assert created.boxes and created.boxes[0].startswith("fp:")
        text = repr(found).encode()
        assert await lab.beside(leaks_in, text) == []


@pytest.mark.sim
async def test_they_are_chosen_by_node_kind_and_number() -> None:
    async with Lab("sim", hosts=2, vms=1, seed=3) as lab:
        await lab.do(c.GetMessages())
        await lab.do(c.VmRecrypt("vm-01"))
        whole = (await lab.do(c.GetMessages(limit=1000))).items
        assert [one.number for one in whole] == sorted(one.number for one in whole)
        of_server = (await lab.do(c.GetMessages("kms", limit=1000))).items
        assert of_server and all("kms" in (one.src, one.dst) for one in of_server)
        assert len(of_server) < len(whole)
        replies = (await lab.do(c.GetMessages(kind=MessageKind.REPLY))).items
        assert replies and {one.kind for one in replies} == {MessageKind.REPLY}
        middle = whole[len(whole) // 2].number
        assert (await lab.do(c.GetMessages(after=middle))).items[0].number > middle
        (last,) = (await lab.do(c.GetMessages(limit=1))).items
        assert last.number >= whole[-1].number
        with pytest.raises(KeysteadError, match="esxi-009"):
            await lab.do(c.GetMessages("esxi-009"))
        with pytest.raises(KeysteadError, match="limit"):
            c.GetMessages(limit=0)
