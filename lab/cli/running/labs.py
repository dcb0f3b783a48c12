"""``up``, ``down``, ``status``, ``list``, ``version``."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from lab.cli.arguments import COMPLETERS, assignments, duration
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import as_typed, document, fields_of, is_document, pairs, plain, say, show
from lab.cli.progress import Style, telling
from lab.cli.results import call
from lab.schema.commands import GetStatus
from lab.schema.errors import KeysteadError
from lab.schema.tables import field
from lab.state.state_folder import Invitations, LabFolder
from lab.topology.demand import hint as machine_is_the_limit

if TYPE_CHECKING:
    from lab.schema.answers import LabStatus, LoopStood
    from lab.schema.answers.local import Lab
    from lab.supervise.launching import Start


@Parameter(name="*")
@dataclass(frozen=True)
class LabShape:
    """Options that override the Lab file; hosts and VMs apply to every cluster."""

    hosts: Annotated[int | None, Parameter(help="Hosts of each cluster.")] = None
    vms: Annotated[int | None, Parameter(help="VMs of each cluster.")] = None
    pack: Annotated[int | None, Parameter(help="Hosts in one process.")] = None
    tpm: Annotated[
        Literal["none", "libtpms", "model"] | None,
        Parameter(help="Implementation of the TPMs: libtpms; none: hosts without TPMs."),
    ] = None
    kms: Annotated[
        int | None, Parameter(help="Key servers of the provider: 1, or 2 that replicate.")
    ] = None
    kms_mode: Annotated[
        Literal["none", "sync-pair", "async", "forward"] | None,
        Parameter(help="Replication mode; none, async and forward allow up to 8 servers."),
    ] = None
    kms_transport: Annotated[
        Literal["bus", "kmip"] | None,
        Parameter(help="How vCenter reaches them: over the bus, or by KMIP under TLS."),
    ] = None
    providers: Annotated[
        int | None, Parameter(help="Key providers; each additional one has its own key server.")
    ] = None
    key_persistence: Annotated[
        bool | None, Parameter(help="Enable key persistence on every host from the start.")
    ] = None
    pace: Annotated[
        float | None, Parameter(help="Lab seconds per real second (30 in the shipped files).")
    ] = None
    serve: Annotated[
        bool | None,
        Parameter(negative="", help="Serve the APIs of vSphere, as keystead serve does."),
    ] = None
    bus: Annotated[
        str | None,
        Parameter(
            help="Number of own nats-servers (1 to 5), or nats://HOST:PORT of external ones."
        ),
    ] = None

    def changes(self) -> dict[str, Any]:
        """The given options, by the names of ``lab.topology.lab_file.override``."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        said = {"mode": given.pop("kms_mode", None), "transport": given.pop("kms_transport", None)}
        said = {name: value for name, value in said.items() if value is not None}
        if self.bus is not None and self.bus.isdecimal():
            given["bus"] = {"servers": int(self.bus[:6])}
        if said:
            given["kms"] = {**said, **({"replicas": self.kms} if self.kms else {})}
        return given


@Parameter(name="*")
@dataclass(frozen=True)
class WaysIn:
    """The address at which machines join, and the folder for their bundles."""

    listen: Annotated[
        str, Parameter(help="HOST:PORT at which machines of the Lab file join, by TLS.")
    ] = ""
    invite: Annotated[
        Path | None,
        Parameter(help="Folder shared with the machines of the Lab file, for their bundles."),
    ] = None
    address: Annotated[
        str, Parameter(help="With --invite: address of the lab for these machines, HOST:PORT.")
    ] = ""

    def invitations(self) -> Invitations | None:
        """Both options or None; KS-USE-003 if only one is given."""
        if (self.invite is None) != (not self.address):
            text = "use --invite FOLDER and --address HOST:PORT together"
            raise KeysteadError("KS-USE-003", text)
        if self.invite is None:
            return None
        return Invitations(folder=str(self.invite.absolute()), address=self.address)


SHIPPED: Final = "default, edge, ha, kmip, native, trusted, two-vcenters, vsan"


FileName = Annotated[
    str,
    Parameter(
        help=f"Lab file: a path or a shipped name: {SHIPPED}.", completer=COMPLETERS["lab file"]
    ),
]


def up(
    file: FileName = "",
    *,
    shape: LabShape = LabShape(),
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative="", help="Set a knob: KNOB=VALUE; can be repeated."),
    ] = (),
    seed: Annotated[
        int | None, Parameter(help="Seed of fault schedules. Default: a random one.")
    ] = None,
    ways: WaysIn = WaysIn(),
    foreground: Annotated[
        bool, Parameter(negative="", help="Stay in the foreground; Ctrl-C stops the lab.")
    ] = False,
    timeout: Annotated[
        str, Parameter(help="Time limit in real time. Default: none, as long as it progresses.")
    ] = "",
    retain: Annotated[
        bool, Parameter(negative="", help="Keep the folder of a lab that fails to start.")
    ] = False,
    wait: Annotated[bool, Parameter(help="Wait until the lab is ready.")] = True,
    progress: Annotated[Style, Parameter(help="auto, plain, rich, json or none.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Start a lab, or continue a stopped one.

    keystead up
    keystead up mylab.yaml
    keystead up edge --hosts 8 --pace 60 --name second
    keystead up --kms 2 --providers 2
    keystead up --kms 3 --kms-mode async
    keystead up --kms 2 --kms-transport kmip
    keystead up --bus 3
    keystead up far.yaml --listen 192.0.2.7:4333 --foreground
    """
    from lab.local.labs import LONGEST_S, starting

    options = _fill_name(options, file)
    limit_s = duration("--timeout", timeout) if timeout else None
    if limit_s is not None and not 0 < limit_s <= LONGEST_S:
        raise KeysteadError("KS-USE-003", f"--timeout {timeout}: above 0s, at most 24h")
    changes = shape.changes()
    if knobs := assignments("--set", set_):
        changes["knobs"] = knobs
    invite = ways.invitations()
    start = starting(
        options.name, file, changes, seed, retain=retain, listen=ways.listen, invite=invite
    )
    if start is None:
        say(f"the lab {options.name} is running already")
        there = call(options, GetStatus())
        _show_status(there, options)
        _whole(there.missing, options)
        return
    missing = _start(start, limit_s, wait, progress, options)
    if foreground:
        _stay(start, missing)
        return
    _whole(missing, options)


def _fill_name(options: LabOptions, file: str) -> LabOptions:
    """With the name that the Lab file gives, unless the command line gives one."""
    from lab.local.labs import name_in_file

    name = "" if options.named else name_in_file(file)
    return replace(options, name=name) if name else options


def _stay(start: Start, missing: tuple[str, ...]) -> None:
    """Wait until the lab ends by itself or this command is interrupted.

    The lab ends with this command, so missing parts are only reported.
    """
    from lab.supervise.launching import stay

    for line in missing:
        say(f"missing: {line}")
    why = stay(start.folder)
    if why:
        raise KeysteadError("KS-LAB-001", f"the lab {start.folder.name} ended: {why}")
    say(f"the lab {start.folder.name} has ended; its state stays in {start.folder.path}")


def _start(
    start: Start, limit_s: float | None, wait: bool, progress: Style, options: LabOptions
) -> tuple[str, ...]:
    """Start the lab, and return its missing parts."""
    from lab.local.labs import build_started_lab
    from lab.supervise.launching import Interrupted

    begun = time.monotonic()
    name = start.folder.name
    try:
        style = Style.NONE if options.quiet else progress
        with telling(style, f"starting the lab {name}") as report:
            missing = start.run(report, timeout_s=limit_s, wait=wait)
    except Interrupted:
        left = (
            ""
            if start.fresh and not start.retain
            else f"; its state stays in {start.log.parent.parent}"
        )
        say(f"keystead: interrupted: the lab {name} is down again{left}")
        sys.exit(130)
    seconds = time.monotonic() - begun
    _present(build_started_lab(start, "running" if wait else "starting", seconds, missing), options)
    return missing


def _whole(missing: tuple[str, ...], options: LabOptions) -> None:
    """Raise KS-LAB-009 when parts of the lab are missing."""
    from lab.serve.machines import what_starts

    if missing:
        text = "\n  ".join((f"of the lab {options.name}:", *missing))
        raise KeysteadError("KS-LAB-009", text, what_starts(missing, options.name))


def _present(lab: Lab, options: LabOptions) -> None:
    if is_document(options.output):
        document(lab, options.output)
        return
    if options.output is Format.NAME:
        plain(lab.name)
        return
    brokers = lab.brokers
    tpm = ", ".join(
        f"{'no TPM' if kind == 'none' else kind} under {n} hosts" for kind, n in lab.tpm.items()
    )
    pools = ", ".join(lab.pools)
    more = f", and one with each machine that asks {pools} for a place" if pools else ""
    pairs(
        [
            ("lab", f"{lab.name}, {lab.state} after {lab.seconds:.1f} s"),
            (
                "brokers",
                f"nats-server {brokers.server}: data {brokers.data or '-'}, "
                f"control {brokers.control or '-'}",
            ),
            ("tpm", tpm),
            ("pace", f"{lab.pace:g} (lab seconds in one second)"),
            ("processes", lab.processes),
            ("hosts", f"{lab.hosts}{more}"),
            ("vms", lab.vms),
            ("folder", lab.folder),
            *(("notice", text) for text in lab.notices),
        ]
    )
    sys.stdout.flush()
    say("try:")
    for line in lab.examples:
        say(f"  {as_typed(line)}")
    limit = machine_is_the_limit(lab.hosts, lab.vms, lab.pack, lab.pace)
    if limit:
        say(f"note: {limit}")


def down(
    *,
    purge: Annotated[
        bool, Parameter(negative="", help="Also delete its folder: disks, TPMs, keys, logs.")
    ] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Stop a lab; --purge also deletes its state from disk.

    keystead down
    keystead down --purge --name second
    """
    from lab.local.labs import down as take_down

    gone = take_down(options.name, purge=purge)
    if is_document(options.output):
        document(gone, options.output)
        return
    first = "is stopped" if gone.stopped else "was not running"
    rest = " and removed" if gone.removed else f"; its state stays in {LabFolder(gone.name).path}"
    say(f"the lab {gone.name} {first}{rest}")


def status(*, options: LabOptions = LAB_DEFAULTS) -> None:
    """Show a summary of a running lab: nodes, VMs, faults, folder, processes.

    keystead status
    keystead status --name second -o json
    """
    _show_status(call(options, GetStatus()), options)


def _show_status(answer: LabStatus, options: LabOptions) -> None:
    if is_document(options.output):
        document(answer, options.output)
        return
    if options.output is Format.NAME:
        plain(answer.name)
        return
    told = ("pids", "missing", "warnings", "stood")
    shown = [(k, v) for k, v in fields_of(answer).items() if k not in told]
    if options.output is Format.WIDE:
        shown += [(f"pid {p.pid}", p.name) for p in answer.pids]
    else:
        shown.append(("processes", len(answer.pids)))
    shown += [("missing", text) for text in answer.missing]
    shown += [("warning", text) for text in answer.warnings]
    shown += [("stood still", _format_stall(one)) for one in answer.stood]
    pairs([(name.replace("_", " "), value) for name, value in shown])


def _format_stall(one: LoopStood) -> str:
    times = "once" if one.times == 1 else f"{one.times} times"
    where = f", in {one.where}" if one.where else ""
    return f"{one.process}: {times} over a second, at most {one.longest_s:.1f} s{where}"


def list_labs(*, options: LabOptions = LAB_DEFAULTS) -> None:
    """List the labs of this user: running, stopped, killed, and attached ones.

    keystead list
    keystead list -o json
    """
    from lab.local.labs import labs

    columns = (
        field("name"),
        field("state"),
        ("NODES", lambda r: r.nodes if r.running is None else f"{r.running}/{r.nodes}"),
        field("hosts"),
        field("vms"),
        ("PACE", lambda r: f"{r.pace:g}" if r.pace else None),
        ("PID", lambda r: r.supervisor or None),
        field("reason"),
    )
    show(labs(), options.output, columns, (field("seed"), field("folder")), key="name")


def version(*, options: LabOptions = LAB_DEFAULTS) -> None:
    """Show the versions of keystead and its components.

    keystead version
    keystead version -o json
    """
    from lab.local.labs import version as versions

    answer = versions()
    if is_document(options.output):
        document(answer, options.output)
    else:
        for name, value in fields_of(answer).items():
            plain(f"{name.replace('_', '-')} {value or 'not there'}")
