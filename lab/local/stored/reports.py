"""Reports of stored runs: one HTML file, JUnit XML, annotations for a pipeline's log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chaos.experiment.plan import load_plan
from chaos.load.histogram import decode_histogram, percentile_file
from chaos.report.story import Story
from chaos.verdict import Verdict
from lab.load.stored_loads import LOAD, compare_loads, find_report, is_load, load_of, of_run
from lab.local.explain import all_rules
from lab.local.stored.runs import reproduce
from lab.matrix.run import MATRIX, OUTSIDE, Result, result_of
from lab.runs.store import RunFolder, history_of
from lab.schema.answers.experiments import ForkedRun
from lab.schema.errors import KeysteadError
from lab.topology.plan import Topology, directory_of

if TYPE_CHECKING:
    from chaos.report.matrix import MatrixStory


MOST_RECORDS_TOLD: Final = 50_000
"""Of a longer history the command line tells no sentence, which would take seconds; its page does.
"""


def story_of(run: str) -> Story:
    """A stored run with its verified history.

    KS-RUN-001 when it is not there or has no history, KS-RUN-004 for a damaged file, KS-CHAOS-204
    for a history that is not what was written, KS-USE-003 for a run of the matrix, and for a load
    on what is no lab.
    """
    folder = RunFolder(run)
    record = folder.record()
    if is_load(record):
        text = f"{run} is a load on no lab: -o, --junit and --hgrm tell of it"
        raise KeysteadError("KS-USE-003", text)
    if record.experiment in (MATRIX, OUTSIDE):
        text = f"{run} is a run of the matrix: -o, --junit and --blocks tell of it"
        raise KeysteadError("KS-USE-003", text)
    topology = folder.read_decoded("topology.msgpack", msgspec.msgpack.Decoder(Topology).decode)
    return Story(
        run=record.run,
        mode=record.mode,
        code=record.code,
        python=record.python,
        tpm=record.tpm_text,
        began=record.began,
        plan=folder.read_decoded("plan.json", load_plan),
        directory=directory_of(topology),
        verdict=folder.verdict(),
        records=history_of(folder),
        reproduce=reproduce(record),
        replay_of=record.replay_of,
        fork_of=record.fork_of,
        fork_at=record.fork_at,
        titles={rule.id: rule.title for rule in all_rules().values()},
    )


def headline_of(run: str) -> str:
    """What happened to its VMs, in a sentence; empty of a run whose history is damaged, which its
    verdict tells, or has more than ``MOST_RECORDS_TOLD`` records."""
    from chaos.report.availability import headline

    try:
        story = story_of(run)
    except KeysteadError:
        return ""
    return headline(story) if len(story.records) <= MOST_RECORDS_TOLD else ""


def describe_fork(run: str, verdict: Verdict) -> ForkedRun:
    """What a fork is, and what differs from the run that it forks. Errors as ``story_of``."""
    from chaos.report.compare import tell_differences

    story = story_of(run)
    return ForkedRun(
        run=run,
        of=story.fork_of,
        at=story.fork_at,
        fault=story.plan.forks()[-1].fault().summary(),
        verdict=verdict.verdict,
        exit_code=verdict.exit_code,
        differences=tell_differences(story_of(story.fork_of), story),
    )


def _is_only_load(run: str) -> bool:
    """Whether its load is all that can be told of a run: it was on no lab, or did not come to its
    end, so that nobody has judged it and nobody vouches for its history."""
    folder = RunFolder(run)
    record = folder.record()
    if is_load(record):
        return True
    if folder.verdict() is not None or record.experiment in (MATRIX, OUTSIDE):
        return False
    return find_report(folder) is not None


def _choice(result: Result) -> str:
    """The options by which the cells of a part of the table were chosen; empty for all of them."""
    from chaos.matrix.events import EVENTS
    from chaos.matrix.faults import FAULTS
    from chaos.matrix.grid import BLOCKS

    kinds: tuple[tuple[Iterable[object], str], ...] = (
        (BLOCKS, "block"),
        (FAULTS, "fault"),
        (EVENTS, "event"),
    )
    if result.not_played:
        return ""
    made = ""
    for known, kind in kinds:
        played = {getattr(row, kind) for row in result.cells}
        every = [str(one) for one in known]
        names = [one for one in every if one in played]
        if 0 < len(names) < len(every):
            made += "".join(f" --{kind} {name}" for name in names)
    return made


def matrix_of(run: str) -> MatrixStory | None:
    """A stored run of the matrix; None for a run of an experiment. Errors as ``story_of``."""
    folder = RunFolder(run)
    record = folder.record()
    if record.experiment not in (MATRIX, OUTSIDE):
        return None
    from chaos.report.matrix import MatrixStory

    result, verdict = result_of(folder), folder.verdict()
    outside = " --outside" * (record.experiment == OUTSIDE)
    again = f"keystead matrix{outside} --mode {record.mode} --tpm {record.tpm}"
    return MatrixStory(
        run=record.run,
        word=folder.word() if verdict is None else verdict.verdict,
        facts={
            "mode": record.mode,
            "seed": record.seed,
            "TPM": record.tpm,
            "code": record.code,
            "Python": record.python,
        },
        began=record.began,
        seconds=0.0 if verdict is None else verdict.ended,
        again=f"{again} --seed {record.seed}{_choice(result) if not outside else ''}",
        cells=result.cells,
        controls=result.controls,
        not_played=result.not_played,
        titles={rule.id: rule.title for rule in all_rules().values()},
    )


def page_of(run: str, other: str = "") -> bytes:
    """The run as one HTML file, or two runs beside each other; errors as ``story_of``.

    KS-USE-003 for two runs one of which is of the matrix.
    """
    from chaos.report.page import page, pair

    if any(matrices := [matrix_of(one) for one in filter(None, (run, other))]):
        if other:
            raise KeysteadError("KS-USE-003", "two runs of an experiment are laid side by side")
        from chaos.report.matrix import matrix_page

        return "".join(matrix_page(one) for one in matrices if one).encode()
    if _is_only_load(run) or (other and RunFolder(run).record().experiment == LOAD):
        return _load_page(run, other).encode()
    if other:
        return pair(story_of(run), story_of(other)).encode()
    return page(story_of(run), _load_parts(run)).encode()


def _load_parts(run: str) -> dict[str, Any] | None:
    """What the page of an experiment's run tells of its load; None for one without."""
    from lab.load.page import parts

    made = of_run(RunFolder(run))
    return None if made is None else parts(made)


def _load_page(run: str, other: str) -> str:
    from lab.load.page import page, pair

    if not other:
        return page(load_of(run))
    a, b = load_of(run), load_of(other)
    return pair(a, b, compare_loads(a, b))


def junit_of(run: str, *, strict: bool = False) -> bytes:
    """The run as JUnit XML; errors as ``story_of``."""
    if (matrix := matrix_of(run)) is not None:
        from chaos.report.matrix import matrix_junit

        return matrix_junit(matrix, strict=strict)
    if _is_only_load(run):
        from lab.load.page import load_junit

        return load_junit(load_of(run), strict=strict)
    from chaos.report.outcomes import junit

    return junit(story_of(run), strict=strict)


def lines_of(run: str, *, strict: bool = False) -> Iterator[str]:
    """The run as lines for GitHub's log; errors as ``story_of``.

    The experiment's file is named when it lies below the folder of work, as in a checkout.
    """
    from chaos.report.outcomes import workflow_lines

    story = story_of(run)
    file, here = Path.cwd() / story.plan.file, Path.cwd()
    place = str(file.relative_to(here)) if file.is_file() and file.is_relative_to(here) else ""
    return workflow_lines(story, file=place, strict=strict)


def write_reports(
    run: str, *, page: Path | None, junit: Path | None, other: str = "", strict: bool = False
) -> list[Path]:
    """Write those that have a path; the paths that were written. Errors as ``story_of`` and
    ``write``."""
    if page is not None:
        write(page, page_of(run, other))
    if junit is not None:
        write(junit, junit_of(run, strict=strict))
    return [path for path in (page, junit) if path is not None]


def write_drawings(run: str, folder: Path) -> list[Path]:
    """An SVG file for each block that a run of the matrix has played, in ``folder``, which is made;
    the paths that were written. KS-USE-003 for a run of an experiment."""
    matrix = matrix_of(run)
    if matrix is None:
        raise KeysteadError("KS-USE-003", f"--blocks: {run} is no run of the matrix")
    from chaos.report.matrix import matrix_drawings

    made = []
    for block, text in matrix_drawings(matrix).items():
        path = folder / f"{block}.svg"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise KeysteadError("KS-OUT-001", f"{folder}: {error.strerror or error}") from None
        write(path, text.encode())
        made.append(path)
    return made


def write_percentiles(run: str, file: Path) -> list[Path]:
    """A file in HdrHistogram's percentile format for each operation and phase, beside ``file``:
    ``a.hgrm`` becomes ``a-key.create-before.hgrm``. The paths that were written; none for a run
    without an operation that ended ok; of a load on no lab for each operation. Errors as
    ``story_of`` and ``write``."""
    made = []
    for name, text in _percentiles(run).items():
        path = file.with_name(f"{file.stem}-{name}{file.suffix or '.hgrm'}")
        write(path, text)
        made.append(path)
    return made


def _percentiles(run: str) -> dict[str, bytes]:
    """By what the file's name ends with."""
    if _is_only_load(run):
        items = [item for item in load_of(run).items if item.p50_ms is not None]
        return {item.operation: percentile_file(decode_histogram(item.histogram)) for item in items}
    from chaos.report.latency import percentile_files, samples

    found = {}
    for (op, phase), text in percentile_files(samples(story_of(run).records)).items():
        word = "".join(sign if sign.isalnum() or sign in "._" else "_" for sign in op)
        found[f"{word}-{phase}"] = text
    return found


def place_for(option: str, path: Path | None) -> None:
    """KS-USE-003 where no file can be written, before anything was done for it."""
    if path is None:
        return
    try:
        fits = path.parent.is_dir() and not path.is_dir()
    except OSError:  # a name too long
        fits = False
    if not fits:
        raise KeysteadError("KS-USE-003", f"{option} {path}: a file in a folder that is there")


def write(path: Path, data: bytes) -> None:
    """Write a report; KS-OUT-001 where that is refused."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise KeysteadError("KS-OUT-001", f"{path}: {error.strerror or error}") from None
