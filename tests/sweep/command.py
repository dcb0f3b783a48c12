"""The crash sweep: stores struck at each of their storage calls, judged, kept in a run's folder."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from chaos.verdict import WORDS, Exit, Verdict
from lab.building.course import Report
from lab.cli.options import LabOptions
from lab.cli.output import document, is_document, plain, say, show
from lab.local.stored.descriptions import SWEEP
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from lab.schema.answers.experiments import Sweep, SweptEffect, SweptPoint
from lab.schema.tables import field
from protocol.messages.agent import TpmBackend
from tests.sweep.forks import Struck
from tests.sweep.run import sweep as play_sweep

STORES: Final[Mapping[str, tuple[str, ...]]] = {
    "keystore": ("keystore",),
    "vcenter": ("vcenter", "native"),
    "kms": ("kms", "kms-pair", "kms-custody"),
    "first-boot": ("first-boot",),
}
"""The stories of each store."""

ALL: Final = "all"


def sweep(
    store: str,
    *,
    tpm: TpmBackend,
    seed: int,
    jobs: int,
    only: str,
    patch: str,
    report: Report,
) -> Sweep:
    """Sweep one store, or all; ``jobs`` 0: as many plays at once as there are cores.

    KS-USE-005 when ``only`` fits no point.
    """
    stories = STORES[store] if store != ALL else tuple(s for each in STORES.values() for s in each)
    began = time.time()
    struck = play_sweep(
        stories,
        tpm=tpm,
        seed=seed,
        jobs=jobs or len(os.sched_getaffinity(0)),
        only=only,
        patch=patch,
        report=report,
    )
    again = f"keystead chaos sweep --tpm {tpm} --seed {seed}"
    if patch:
        again += f" --patch {shlex.quote(patch)}"
    folder = new_run(SWEEP, "sim", seed)
    wrong = tuple(_point(s, again) for s in struck if s.played.violations)
    code = Exit.FAILED if wrong else Exit.PASS
    made = Sweep(
        run=folder.run,
        tpm=tpm,
        seed=seed,
        seconds=round(time.time() - began, 1),
        cpu_seconds=round(sum(s.cpu_s for s in struck), 1),
        points=len({(s.story, s.passage) for s in struck}),
        plays=len(struck),
        exit_code=code,
        effects=_effects(struck),
        items=wrong,
    )
    _keep(folder, made, began)
    return made


def sweep_and_show(
    store: str,
    *,
    tpm: str,
    seed: int,
    jobs: int,
    only: str,
    patch: str,
    report: Report,
    options: LabOptions,
) -> int:
    """The command ``keystead chaos sweep``; see ``lab.cli.experiments.campaigns``."""
    made = sweep(
        store,
        tpm=TpmBackend(tpm),
        seed=seed,
        jobs=jobs,
        only=only,
        patch=patch,
        report=report,
    )
    _show(made, options)
    return made.exit_code


def _show(made: Sweep, options: LabOptions) -> None:
    if is_document(options.output):
        document(made, options.output)
        return
    names = ("store", "effect", "plays", "old", "new", "between", "refused", "wrong")
    show({"items": made.effects}, options.output, tuple(map(field, names)), key="effect")
    for point in made.items:
        plain(f"✗ {point.point}")
        answered = "acknowledged" if point.acknowledged else "not acknowledged"
        if point.step:
            plain(f"  in: {point.step} ({answered})")
        for text in point.violations:
            plain(f"  {text}")
        for text in point.records:
            plain(f"  | {text}")
        plain(f"  again: {point.again}")
    say(
        f"{made.plays} plays of {made.points} points, {len(made.items)} broke a rule; "
        f"run {made.run}, tpm {made.tpm}, {made.seconds:g} s, "
        f"{made.cpu_seconds:g} s of processor time"
    )


def _point(struck: Struck, command: str) -> SweptPoint:
    return SweptPoint(
        point=struck.name,
        step=struck.played.step,
        acknowledged=struck.played.acknowledged,
        violations=struck.played.violations,
        records=struck.played.records,
        again=f"{command} --only {shlex.quote(struck.name)}",
    )


def _effects(struck: Sequence[Struck]) -> tuple[SweptEffect, ...]:
    groups: dict[tuple[str, str], list[Struck]] = {}
    for each in struck:
        groups.setdefault((each.story, str(each.blow or "undisturbed")), []).append(each)

    def count_found(group: list[Struck], word: str) -> int:
        return sum(each.played.found == word for each in group)

    return tuple(
        SweptEffect(
            store=store,
            effect=effect,
            plays=len(group),
            old=count_found(group, "old"),
            new=count_found(group, "new"),
            between=count_found(group, "between"),
            refused=count_found(group, "refused"),
            wrong=sum(bool(each.played.violations) for each in group),
        )
        for (store, effect), group in sorted(groups.items())
    )


def _keep(folder: RunFolder, made: Sweep, began: float) -> None:
    record = RunRecord(
        run=folder.run,
        experiment=SWEEP,
        mode="sim",
        seed=made.seed,
        code=code_version(),
        python=python_version(),
        lock=lock_version(),
        began=began,
        tpm=made.tpm.value,
    )
    verdict = Verdict(
        verdict=WORDS[Exit(made.exit_code)],
        exit_code=made.exit_code,
        seed=made.seed,
        trace_hash="",
        run=folder.run,
        tpms=(made.tpm,),
        checks=(),
        reasons=tuple(f"{p.point}: {'; '.join(p.violations)}" for p in made.items),
        ended=made.seconds,
    )
    for name, kept in (("run", record), ("sweep", made), ("result", verdict)):
        folder.write(f"{name}.json", msgspec.json.format(msgspec.json.encode(kept)))
