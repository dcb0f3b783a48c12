"""A lab that is watched can be searched, and acted on behind its nodes' backs, in either mode."""

from __future__ import annotations

from typing import Literal

import pytest

from lab.client import Lab
from lab.conformance import bench
from lab.schema import commands as c

HOST, SERVER = "esxi-001", "kms"
MODES = [
    pytest.param("sim", marks=pytest.mark.sim),
    pytest.param("lab", marks=pytest.mark.lab),
]


@pytest.mark.parametrize("mode", MODES)
async def test_what_lies_there_is_found_and_no_more(mode: Literal["sim", "lab"]) -> None:
    async with Lab(mode, hosts=1, vms=1, tpm="none", pace=100, seed=3, watched=True) as lab:
        found = await lab.beside(bench.search_disk, SERVER)
        assert found.secrets > 0 and found.places > 0 and not found.leaks
        assert any("master.key" in hit for hit in found.hits)
        bus = await lab.beside(bench.search_bus)
        assert bus.places > 0 and not bus.hits
        id = str((await lab.vms())[0].key).partition("/")[2]
        assert await lab.beside(bench.texts_on_bus, [id, "0" * 36]) == [id]
        assert await lab.beside(bench.texts_on_disk, "vcenter", [id, "0" * 36]) == [id]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
async def test_another_archive_is_what_the_next_boot_finds(mode: Literal["sim", "lab"]) -> None:
    async with Lab(mode, hosts=1, vms=0, tpm="none", pace=100, seed=3) as lab:
        await lab.do(c.HostPowerOff((HOST,)))
        was = (await lab.beside(bench.read_sealed_key, HOST)).archive
        await lab.beside(bench.put_archive, HOST, bytes(len(was)))
        (row,) = (await lab.do(c.HostPowerOn((HOST,)))).items
        assert row.machine.value == "halted" and "decrypt" in row.screen
        await lab.do(c.HostPowerOff((HOST,)))
        await lab.beside(bench.put_archive, HOST, was)
        (row,) = (await lab.do(c.HostPowerOn((HOST,)))).items
        assert row.machine.value == "running"


@pytest.mark.sim
async def test_a_lab_that_is_not_watched_is_not_searched() -> None:
    async with Lab("sim", hosts=1, vms=0, seed=3) as lab:
        with pytest.raises(ValueError, match="not made to be searched"):
            await lab.beside(bench.search_bus)
