"""The library's lab of real processes: it obeys leases, and nothing of it is left afterwards."""

from __future__ import annotations

import asyncio

import psutil
import pytest

from lab.client import Lab, Owned
from lab.schema.commands import GetFaults, LinkCut
from lab.schema.errors import KeysteadError

pytestmark = pytest.mark.lab


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@pytest.mark.slow
async def test_after_its_block_a_lab_has_no_process_and_no_folder() -> None:
    before = children()
    async with Lab(mode="lab", hosts=1, vms=1, tpm="none", pace=100, seed=3) as lab:
        assert isinstance(lab.way, Owned)
        folder, started = lab.way.session.folder, children() - before
        assert folder is not None and folder.is_dir() and len(started) >= 3
        with pytest.raises(RuntimeError, match="no trace"):
            await lab.trace()
        await lab.do(LinkCut("vcenter", "kms", lease_s=60))
        assert len((await lab.do(GetFaults())).items) == 1
        await lab.sleep(150)
        assert (await lab.do(GetFaults())).items == ()
    with pytest.raises(RuntimeError, match="async with"):
        await lab.vms()
    _, left = psutil.wait_procs(started, timeout=10)
    assert left == [] and not folder.exists()


async def test_an_end_that_is_cancelled_on_its_way_leaves_nothing_either() -> None:
    before = children()
    lab = await Lab(mode="lab", hosts=1, vms=0, tpm="none", pace=100, seed=3).__aenter__()
    assert isinstance(lab.way, Owned)
    folder, started = lab.way.session.folder, children() - before
    ending = asyncio.create_task(lab.way.close())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    _, left = psutil.wait_procs(started, timeout=10)
    assert left == [] and folder is not None and not folder.exists()


def test_a_mode_that_there_is_not_is_refused_and_starts_no_real_lab() -> None:
    with pytest.raises(KeysteadError, match="mode 'simulation': 'sim' or 'lab'"):
        Lab("simulation")  # type: ignore[arg-type]
