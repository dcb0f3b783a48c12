"""What is left of a disk's old content when it is encrypted, rekeyed and decrypted: nothing that
anybody can look at in the lab (decision 61)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.simulation.sim_lab import SimLab
from protocol.guest import BLOCK_SIZE, guest_block, guest_seed
from protocol.messages.vcenter.vsan import DataEncryptionConfig, VsanClusterReconfig
from protocol.terms import ProviderId
from tests.e2e import test_vsan_kills as kills
from tests.e2e.test_vsan import lab_file
from tests.e2e.test_vsan_kills import CLUSTER, MARKER, VCENTER, mark, rekey

lab = kills.lab
pytestmark = pytest.mark.sim
IN_CLEAR = {
    "topology": lab_file(encrypted=False, provider=None, groups=2),
    "tpm": "model",
    "vms": 0,
}
BLOCKS = range(8)


def images(lab: SimLab) -> Iterator[tuple[str, bytes]]:
    """Every file of every host, as it was written and as it was synced."""
    for node, store in lab.world.stores.items():
        if node.startswith("esxi"):
            for path, data in store.images():
                yield f"{node}/{path}", data


def where(lab: SimLab, pieces: list[bytes]) -> list[str]:
    """The files in which one of these stands."""
    return [path for path, data in images(lab) if any(piece in data for piece in pieces)]


def stored(lab: SimLab) -> list[bytes]:
    """Blocks of disks as they lie there now, without those that are empty."""
    found = [data for path, data in images(lab) if "vsan" in path and len(data) > BLOCK_SIZE]
    blocks = [data[-BLOCK_SIZE * n :][:BLOCK_SIZE] for data in found for n in (1, 2, 3)]
    return [block for block in blocks if len(set(block)) > 100]


async def encrypted(lab: SimLab, *, on: bool) -> None:
    wish = DataEncryptionConfig(
        encryption_enabled=on, kms_provider_id=ProviderId("kms-provider") if on else None
    )
    message = VsanClusterReconfig(
        operation_id=f"test/{on}", cluster=CLUSTER, data_encryption_config=wish
    )
    await lab.ask(VCENTER, message, within_s=600.0)


@pytest.mark.parametrize("lab", [IN_CLEAR], indirect=True)
def test_nothing_of_the_old_content_is_left(lab: SimLab) -> None:
    async def story() -> None:
        await mark(lab)
        clear = [guest_block(guest_seed(MARKER), index, 0) for index in BLOCKS]
        assert where(lab, clear), "the clear blocks lie on disks before"
        await encrypted(lab, on=True)
        assert where(lab, clear) == []
        first = stored(lab)
        assert where(lab, first)
        await lab.ask(VCENTER, rekey(1, deep=True), within_s=600.0)
        second = stored(lab)
        assert where(lab, first) == []
        assert where(lab, second)
        await encrypted(lab, on=False)
        assert where(lab, second) == []
        assert where(lab, clear)

    lab.run(story())
