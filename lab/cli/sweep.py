"""``chaos sweep``: every storage call of a store, struck in every way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from lab.cli.options import DEFAULTS, Options
from lab.cli.output import document, field, is_document, plain, say, show
from lab.cli.progress import Style, telling
from lab.schema.errors import KeysteadError

if TYPE_CHECKING:
    from lab.schema.answers.sweep import Sweep

Store = Literal["keystore", "vcenter", "kms", "first-boot", "all"]
MOST_JOBS = 64


def sweep(
    *,
    store: Annotated[Store, Parameter(help="The store that is struck.")] = "all",
    tpm: Annotated[Literal["model", "libtpms"], Parameter(help="TPM under hosts.")] = "model",
    seed: Annotated[int, Parameter(help="Fixes what happens, torn writes too.")] = 1,
    jobs: Annotated[int, Parameter(help="Plays at once; 0: as many as cores.")] = 0,
    only: Annotated[str, Parameter(help="Points whose name begins so; a pattern.")] = "",
    patch: Annotated[
        str, Parameter(help="Applied first: a Python module or `module:function`.")
    ] = "",
    progress: Annotated[Style, Parameter(help="How progress is told.")] = Style.AUTO,
    options: Options = DEFAULTS,
) -> int:
    """Crash, power loss, torn write, full and failing disk at every storage call of a store.

        keystead chaos sweep --store keystore --tpm libtpms
        keystead chaos sweep --only 'keystore/esxi-001:archive.*disk.sync*power_loss'

    A story is played in virtual time: keys are added, rotated and removed, VMs and providers come
    and go. Each of its storage calls is struck once in every way; then the node boots, and the
    store must hold what it held before the step or what the step makes of it, the latter if it was
    acknowledged; nothing is left of what was removed; the story goes on to its end. Exit codes:
    0 no rule was broken, 1 one was.
    """
    if not 0 <= jobs <= MOST_JOBS:
        raise KeysteadError("KS-USE-003", f"--jobs {jobs}: 0 to {MOST_JOBS}")
    from lab.local.sweep import sweep as swept
    from protocol.messages.agent import TpmBackend

    style = Style.NONE if options.quiet else progress
    with telling(style, "sweep") as report:
        made = swept(
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


def _show(made: Sweep, options: Options) -> None:
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
