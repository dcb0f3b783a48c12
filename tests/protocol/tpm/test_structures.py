"""What a selection of PCRs may be."""

from __future__ import annotations

import pytest

from protocol.tpm.structures import PCR_COUNT, PcrSelection


@pytest.mark.parametrize("pcrs", [(0,), (0, 7), (PCR_COUNT - 1,), tuple(range(PCR_COUNT))])
def test_a_selection(pcrs: tuple[int, ...]) -> None:
    assert PcrSelection(pcrs).pcrs == pcrs
    assert PcrSelection.of(reversed(pcrs)) == PcrSelection(pcrs)


@pytest.mark.parametrize("pcrs", [(), (-1,), (-1, 0), (PCR_COUNT,), (0, PCR_COUNT), (7, 0), (7, 7)])
def test_no_selection(pcrs: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="PCR indices"):
        PcrSelection(pcrs)
