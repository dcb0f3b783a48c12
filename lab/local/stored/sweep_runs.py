"""A stored run of the crash sweep, told again."""

from __future__ import annotations

from typing import Final

import msgspec

from lab.local.stored.run_description import description
from lab.runs.store import RunFolder, RunRecord
from lab.schema.answers.local import RunDescription
from lab.schema.answers.sweep import Sweep

SWEEP: Final = "sweep"
"""The experiment that a sweep's run names."""


def describe_sweep(folder: RunFolder, record: RunRecord) -> RunDescription:
    """What a sweep's run was; KS-RUN-001 for one without its answer, KS-RUN-004 for a damaged
    one."""
    made = folder.read_decoded("sweep.json", msgspec.json.Decoder(Sweep).decode)
    wrong = "none" if not made.items else str(len(made.items))
    return description(
        folder,
        record,
        title=f"the crash sweep, {made.plays} plays of {made.points} points: {wrong} broke a rule",
        seconds=made.seconds,
        verdict=folder.verdict(),
        problem="; ".join(point.point for point in made.items),
        records=0,
        examples=tuple(point.again for point in made.items)
        or (f"keystead chaos sweep --tpm {made.tpm} --seed {made.seed}",),
    )
