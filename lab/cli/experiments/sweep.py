"""``chaos sweep``: every storage call of a store, struck in every way."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.progress import Style, telling
from lab.schema.errors import KeysteadError

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
    options: LabOptions = LAB_DEFAULTS,
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
    from lab.state.checkout import load_module

    command = load_module("tests.sweep.command", "keystead chaos sweep")
    style = Style.NONE if options.quiet else progress
    with telling(style, "sweep") as report:
        code: int = command.sweep_and_show(
            store,
            tpm=tpm,
            seed=seed,
            jobs=jobs,
            only=only,
            patch=patch,
            report=report,
            options=options,
        )
    return code
