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
    store: Annotated[Store, Parameter(help="The store to test.")] = "all",
    tpm: Annotated[Literal["model", "libtpms"], Parameter(help="TPM implementation.")] = "model",
    seed: Annotated[int, Parameter(help="Seed of the simulation, also of torn writes.")] = 1,
    jobs: Annotated[int, Parameter(help="Number of parallel plays; 0: number of cores.")] = 0,
    only: Annotated[str, Parameter(help="Pattern for the beginning of a point's name.")] = "",
    patch: Annotated[
        str, Parameter(help="Patch to apply first: a Python module or `module:function`.")
    ] = "",
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Crash a store at each of its storage calls, and check what survives.

        keystead chaos sweep --store keystore --tpm libtpms
        keystead chaos sweep --only 'keystore/esxi-001:archive.*disk.sync*power_loss'

    The command plays a story in virtual time: keys are added, rotated and removed, VMs and
    providers are created and deleted. Each storage call fails once in every way: crash, power loss,
    torn write, full disk, failing disk. Then the node boots. The store must have the state before
    or after the interrupted step, the state after it if the step was acknowledged. Removed data
    must be gone, and the story must run to its end. Exit codes: 0 no rule was broken, 1 one was.
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
