"""Rows outside of the grid, played."""

from __future__ import annotations

import time
from collections.abc import Sequence

from chaos.matrix.outside import ROWS
from lab.building.course import Report
from lab.matrix.outside import play_outside
from lab.matrix.run import MatrixOrder, at_once, exit_of
from lab.schema.answers.matrix import Outside
from lab.schema.errors import KeysteadError
from protocol.messages.agent import TpmBackend
from protocol.printable import quote_if_needed
from services.kms.settings.config import KmsTransport


def outside(
    rows: Sequence[str],
    *,
    mode: str,
    tpm: TpmBackend | None,
    seed: int,
    jobs: int,
    report: Report,
    transport: KmsTransport = KmsTransport.BUS,
) -> Outside:
    """Play rows X01 to X20; empty: all of them. ``transport``: how their key servers are asked.

    KS-USE-002 for a row that there is not.
    """
    began = time.monotonic()
    known = {row.id.lower(): row for row in ROWS}
    for name in rows:
        if name.lower() not in known:
            there = ", ".join(row.id for row in ROWS)
            text = f"there is no row {quote_if_needed(name)}; there are {there}"
            raise KeysteadError("KS-USE-002", text, "give one of these, in capitals or not")
    chosen = [row for key, row in known.items() if not rows or key in {n.lower() for n in rows}]
    wanted = MatrixOrder(
        cells=(),
        mode=mode,
        tpm=tpm or (TpmBackend.MODEL if mode == "sim" else TpmBackend.LIBTPMS),
        seed=seed,
        jobs=jobs or at_once(mode),
        transport=transport,
    )
    folder, result, played = play_outside(chosen, wanted, report)
    return Outside(
        run=folder.run,
        mode=mode,
        transport=transport.value,
        tpm=wanted.tpm,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        exit_code=exit_of(result),
        not_played=result.not_played,
        items=played,
    )
