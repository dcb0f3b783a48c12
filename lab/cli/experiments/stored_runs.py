"""Commands on stored runs.

``check`` repeats the checks, ``describe run`` describes one without a lab, ``report`` writes HTML,
JUnit XML or annotations of a log, ``chaos tap`` shows the messages of the bus, ``chaos fork``
plays on from a moment with one more fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from lab.cli.arguments import COMPLETERS, RunName, assignments, duration
from lab.cli.experiments.chaos import show_progress, stopping
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, hint, is_document, json_line, pairs, plain, say, show
from lab.schema.errors import KeysteadError
from lab.schema.tables import field, moment

if TYPE_CHECKING:
    from chaos.conversation import Said
    from chaos.history import Record
    from chaos.progress import Progress
    from chaos.verdict import Verdict
    from lab.runs.store import RunFolder
    from lab.schema.answers.local import JudgedCheck
    from services.runtime.sim.runner import Stopping


_CODES: Final = {"pass": 0, "fail": 1, "unknown": 2}


def check(
    run: RunName,
    *,
    only: Annotated[tuple[str, ...], Parameter(help="Only this check; can be repeated.")] = (),
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Repeat the checks of a stored run on its history.

    keystead check edge-outage-reboot-sim-7
    keystead check edge-outage-reboot-sim-7 --only guests_read_back

    For a failed check the command shows the first record that violates it, the records around it,
    the faults that were active, and a command to reproduce it. Exit codes: 0 pass, 1 fail,
    2 unknown.
    """
    from lab.local.stored.runs import check as judged

    answer = judged(run, only)
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
        return _CODES[answer.verdict]
    columns = (field("result"), field("check"), field("invariant", "NO"), field("text", "SEEN"))
    show(answer, options.output, columns, key="check")
    for item in answer.items:
        _scene(item)
    ended = answer.ended if answer.ended != answer.verdict else ""
    say(f"{answer.verdict.upper()}  run {run}{f', which itself ended: {ended}' if ended else ''}")
    return _CODES[answer.verdict]


def _scene(item: JudgedCheck) -> None:
    if item.scene is None:
        return
    plain(
        f"\n{item.check}: first seen at record {item.scene.first}; active faults: "
        f"{'; '.join(item.scene.faults) or 'none'}"
    )
    for record in item.scene.records:
        mark = ">" if record.seq in item.records else " "
        plain(f"{mark} {record_line(record)}")
    plain(f"again: {item.reproduce}")


def record_line(record: Record) -> str:
    """A record of a history in one line."""
    data = msgspec.json.encode(record.data).decode() if record.data else ""
    what = f"{record.type} {record.op}".rstrip()
    return f"{record.seq:6d}  {record.t:10.3f} s  {record.node or '-':<12} {what}  {data}".rstrip()


def describe_run(run: RunName, *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Describe a stored run: faults, checks, verdict, and commands to continue with.

    keystead describe run edge-outage-reboot-sim-7
    keystead describe run edge-outage-reboot-sim-7 -o json
    """
    from chaos.checks import arrange
    from lab.local.stored.runs import describe

    answer = describe(run)
    if is_document(options.output):
        document(answer, options.output)
        return
    verdict = answer.verdict
    ended = answer.state if verdict is None else f"{verdict.verdict} (exit {verdict.exit_code})"
    lasted = "" if answer.seconds is None else f", {answer.seconds:g} s"
    pairs(
        [
            ("run", f"{run}, {moment(answer.began)}"),
            ("experiment", f"{answer.experiment}: {answer.title}"),
            ("how", f"{answer.mode}, seed {answer.seed}, tpm {answer.tpm or '-'}{lasted}"),
            *([("lab", f"{answer.hosts} hosts, {answer.vms} VMs")] if answer.hosts else []),
            ("replay of", answer.replay_of),
            ("fork of", f"{answer.fork_of} at {answer.fork_at:g} s" if answer.fork_of else ""),
            ("verdict", ended),
            ("problem", answer.problem),
            ("history", f"{answer.records} records in {answer.folder}"),
        ]
    )
    for fault in answer.faults:
        until = "not healed" if fault.ended is None else f"{fault.ended:.1f} s"
        plain(f"  {fault.began:.1f} s to {until}: {fault.error or fault.summary}")
    if verdict is not None:
        for reason in verdict.reasons if not verdict.checks else ():
            plain(f"  {reason}")
        plain("\nchecks:" if verdict.checks else "")
        shown, idle = arrange(verdict.checks, faulted=bool(answer.faults))
        for check in shown:
            plain(f"  {check.result:<8}{check.name}: {check.text}")
        if idle:
            plain(f"  nothing to judge for {', '.join(one.name for one in idle)}")
    for command in answer.examples:
        plain(f"try: {command}")


Page = Annotated[
    Path | None,
    Parameter(name=["--output", "-o"], help="HTML file. Default: RUN.html."),
]
Junit = Annotated[Path | None, Parameter(help="File for JUnit XML: one case per check.")]
Hgrm = Annotated[
    Path | None,
    Parameter(help="Prefix of files for HdrHistogram percentiles, per operation and phase."),
]
Blocks = Annotated[
    Path | None,
    Parameter(help="Folder for SVG images of the blocks of a matrix run."),
]


def report(
    run: RunName,
    other: str = "",
    *,
    output: Page = None,
    junit: Junit = None,
    hgrm: Hgrm = None,
    blocks: Blocks = None,
    github: Annotated[
        bool, Parameter(negative="", help="Print annotations for a GitHub workflow.")
    ] = False,
    strict: Annotated[
        bool,
        Parameter(negative="", help="In JUnit XML and annotations, count unknown as an error."),
    ] = False,
) -> None:
    """Write a report of a stored run as one HTML file that needs no network.

    The run is one of an experiment or of the matrix.

    keystead report edge-outage-reboot-sim-7
    keystead report edge-outage-reboot-sim-7 edge-outage-reboot-sim-8 -o both.html
    keystead report edge-outage-reboot-sim-7 --junit results.xml --github
    keystead report matrix-sim-1 --blocks pictures

    A second run is compared with the first. With --junit, --hgrm, --blocks or --github the HTML
    file is written only if -o names it.
    """
    from lab.local.stored.reports import (
        lines_of,
        place_for,
        write_drawings,
        write_percentiles,
        write_reports,
    )

    for_one = (junit, hgrm, blocks, github or None)
    if other and any(one is not None for one in for_one):
        raise KeysteadError("KS-USE-003", "--junit, --hgrm, --blocks and --github need one run")
    if output is None and all(one is None for one in for_one):
        output = Path(f"{run}-and-{other}.html" if other else f"{run}.html")
    for option, path in (("-o", output), ("--junit", junit), ("--hgrm", hgrm)):
        place_for(option, path)
    for path in write_reports(run, page=output, junit=junit, other=other, strict=strict):
        say(f"written: {path}")
    if blocks is not None:
        for path in write_drawings(run, blocks):
            say(f"written: {path}")
    if hgrm is not None:
        made = write_percentiles(run, hgrm)
        for path in made:
            say(f"written: {path}")
        if not made:
            say("no percentiles: no operation of this run succeeded")
    if github:
        for line in lines_of(run, strict=strict):
            plain(line)


def tap(
    run: RunName,
    *,
    node: Annotated[str, Parameter(help="Only messages of this node, sent or received.")] = "",
    message: Annotated[str, Parameter(help="Only requests of this name, with their replies.")] = "",
    after: Annotated[str, Parameter(help="Only from this time of the run on, such as 90s.")] = "",
    until: Annotated[str, Parameter(help="Only up to this time of the run.")] = "",
    otlp: Annotated[
        str,
        Parameter(help="Send a span for each request to this OpenTelemetry collector (HTTP)."),
    ] = "",
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Print the bus messages of a stored run; binary data is shown as fingerprints.

    keystead chaos tap edge-outage-reboot-sim-4711 --node esxi-001 --after 90s
    keystead chaos tap RUN --message AddKeys -o json
    keystead chaos tap RUN --otlp http://127.0.0.1:4318
    """
    from lab.local.stored.runs import MessageFilter, read_conversation

    wanted = MessageFilter(
        node=node,
        message=message,
        after_s=duration("--after", after),
        until_s=duration("--until", until) if until else float("inf"),
    )
    said = read_conversation(run, wanted)
    if otlp:
        from lab.local.stored.spans import send_spans

        say(f"{send_spans(run, _whole(said), otlp)} requests are sent as spans")
        return
    for one in _whole(said):
        match options.output:
            case Format.JSON | Format.YAML:
                json_line(one)
            case Format.NAME:
                plain(one.name)
            case Format.WIDE:
                plain(message_line(one))
            case _:
                plain(message_line(one, SHOWN))


def _whole(said: Iterator[Any]) -> Iterator[Said]:
    """The messages; what is missing among them is told on stderr."""
    from chaos.conversation import ConversationEnd

    for one in said:
        if not isinstance(one, ConversationEnd):
            yield one
            continue
        if one.dropped:
            say(f"the recording was full: its last {one.dropped} messages are missing")
        if one.gaps:
            say(f"the recorder lost its link {one.gaps} times: messages of these times are missing")


SHOWN = 100  # characters of a message's fields; -o wide has them all
ARROWS = {"request": "->", "reply": "=>", "error": "=!", "event": "))", "wrong": "??"}


def message_line(one: Said, most: int | None = None) -> str:
    """One message in one line: time, sender, receiver, content of at most ``most`` characters."""
    boxes = f"  sealed {' '.join(one.boxes)}" if one.boxes else ""
    what = one.wrong or (msgspec.json.encode(one.body).decode() if one.body else "")
    body = what if most is None or len(what) <= most else f"{what[:most]}…"
    number = f" #{one.id}" if one.id else ""
    cause = f"  for {one.cause}" if one.cause else ""
    where = f"{one.src} {ARROWS[one.kind]} {one.dst or 'all'}"
    return f"{one.t:12.6f}  {where}  {one.name}{number}  {body}{boxes}{cause}".rstrip()


def fork(
    run: RunName,
    kind: Annotated[
        str,
        Parameter(
            help="Kind of fault, as in experiment files: link.cut.", completer=COMPLETERS["fault"]
        ),
    ],
    *values: Annotated[str, Parameter(help="Parameters of the fault as NAME=VALUE.")],
    at: Annotated[str, Parameter(help="Time of the run at which the fault begins: 90s, 4m.")],
    for_: Annotated[
        str,
        Parameter(
            name="--for",
            help="Length of the fault in lab time. Default: to the end of the fault phase.",
        ),
    ] = "",
    other_code: Annotated[bool, Parameter(help="Fork even if the code has changed.")] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Fork a stored run of the simulation: play it again with one more fault, and compare.

    keystead chaos fork edge-outage-reboot-sim-7 host.power_loss on=esxi-002 --at 4m --for 30s
    keystead chaos fork edge-outage-reboot-sim-7 link.cut between=[vcenter,kms] --at 90s

    Up to that time the new run is the same, record by record; exit code 5 if it differs. The exit
    code is else that of the new run: 0 pass, 1 fail. `keystead report RUN FORK` draws both.
    """
    from lab.local.stored.reports import describe_fork

    with show_progress(quiet=options.quiet) as show:
        folder, verdict = play_fork(
            run,
            kind,
            *values,
            at=at,
            for_=for_,
            other_code=other_code,
            show=show,
            stopping=stopping,
        )
    answer = describe_fork(folder.run, verdict)
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
        return verdict.exit_code
    if options.output is Format.NAME:
        plain(folder.run)
        return verdict.exit_code
    for text in answer.differences:
        plain(text)
    plain(f"{verdict.verdict.upper()} (exit {verdict.exit_code})  run {folder.run}")
    hint(f"keystead report {run} {folder.run}")
    return verdict.exit_code


def play_fork(
    run: str,
    kind: str,
    *values: str,
    at: str,
    for_: str = "",
    other_code: bool = False,
    show: Progress,
    stopping: Stopping,
) -> tuple[RunFolder, Verdict]:
    """Fork a run as the words of a command line say. Errors as ``lab.play.play.fork``, and
    KS-USE-003 for words that are no time or no value."""
    from lab.play.play import fork as fork_run

    return fork_run(
        run,
        duration("--at", at),
        kind.replace("-", "_"),
        assignments("value", values),
        lasts_s=duration("--for", for_) if for_ else None,
        other_code=other_code,
        show=show,
        stopping=stopping,
    )
