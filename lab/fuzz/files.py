"""Findings and corpus as experiment files: commented, and played as any other experiment."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import yaml

from chaos.experiment.shrink import size
from chaos.experiment.written import as_file
from lab.fuzz.shrinking import Small
from lab.play.prepare import Prepared, prepare
from lab.state.scratch import no_room
from protocol import names


def write(folder: Path, small: Small, seed: int, before: str) -> Path:
    """The file of a finding, whole or not there; its name is that of the experiment in it.
    ``before``: the size of the run that it was made from. KS-LAB-005 when there is no room."""
    name = name_of(small, seed)
    plan = msgspec.structs.replace(small.plan, name=name, title=f"{small.failure} of seed {seed}")
    checks = [small.failure.name] if small.failure.kind == "check" else ["no_fault_left"]
    text = yaml.safe_dump(as_file(plan, checks), sort_keys=False, allow_unicode=True, width=100)
    head = [
        f"{small.failure}, found by seed {seed} and shrunk in {small.runs} runs:",
        f"from {before}",
        f"to   {size(plan)}: {small.shape()}",
        f"lab  {small.world.describe_lab()}",
        f"play it: keystead chaos run {name}.yaml --mode sim",
    ]
    if small.world.patch:
        head.append(f"in code in which {small.world.patch} is planted")
    path = folder / f"{name}.yaml"
    half = path.with_suffix(".new")
    try:
        half.write_text("".join(f"# {line}\n" for line in head) + text)
        half.replace(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise no_room(error) from None
    return path


def name_of(small: Small, seed: int) -> str:
    """``no-fault-left-17``: what it is, and by which seed it was found."""
    words = (small.failure.name or small.failure.kind).lower().replace("_", "-").strip("-")
    name = f"{words}-{seed}"
    return name if not names.EXPERIMENT.fault(name) else f"found-{seed}"


def corpus(folder: Path) -> Iterable[Path]:
    """The files of a corpus, in order of their names."""
    return sorted(folder.glob("*.yaml"))


def read(path: Path) -> Prepared:
    """A file of findings as a run would be made from it; raises as ``prepare`` does."""
    return prepare(str(path), None, {})
