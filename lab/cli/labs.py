"""``up``, ``down``, ``status``, ``list``, ``version``."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from lab.api.commands import GetStatus
from lab.cli.connect import call
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import (
    as_typed,
    document,
    field,
    fields_of,
    is_document,
    pairs,
    plain,
    say,
    show,
)
from lab.cli.progress import Style, telling
from lab.cli.values import assignments, duration
from lab.errors import KeysteadError
from lab.supervise import launching as launch
from lab.supervise.launching import LabState, state_of
from lab.supervise.state_folder import LabFolder, LabRecord, all_labs

DEFAULT_FILE = "default"
LONGEST = 24 * 3600.0


@Parameter(name="*")
@dataclass(frozen=True)
class Shape:
    """What changes the Lab file; those about hosts and VMs change every cluster."""

    hosts: Annotated[int | None, Parameter(help="Hosts of each cluster.")] = None
    vms: Annotated[int | None, Parameter(help="VMs of each cluster.")] = None
    pack: Annotated[int | None, Parameter(help="Hosts in one process.")] = None
    tpm: Annotated[
        Literal["none", "libtpms", "model"] | None,
        Parameter(help="TPM under each host: libtpms (real), none; model is for simulations."),
    ] = None
    kms: Annotated[int | None, Parameter(help="Key servers.")] = None
    key_persistence: Annotated[
        bool | None, Parameter(help="Enable key persistence on every host from the start.")
    ] = None
    pace: Annotated[
        float | None, Parameter(help="Lab seconds that pass in one second (30 in the file).")
    ] = None

    def changes(self) -> dict[str, Any]:
        """What was given, under the names of ``lab.topology.lab_file.override``."""
        return {name: value for name, value in vars(self).items() if value is not None}


def up(
    file: Annotated[str, Parameter(help="Shipped Lab file (default, edge) or a path.")] = "",
    *,
    shape: Shape = Shape(),
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative="", help="KNOB=VALUE, any number of times."),
    ] = (),
    seed: Annotated[int | None, Parameter(help="Seed of fault schedules; drawn if left out.")] = (
        None
    ),
    timeout: Annotated[str, Parameter(help="Real time until it must be ready.")] = "120s",
    retain: Annotated[
        bool, Parameter(negative="", help="Keep the folder of a lab that did not start.")
    ] = False,
    wait: Annotated[bool, Parameter(help="Wait until ready.")] = True,
    progress: Annotated[Style, Parameter(help="auto, plain, rich, json or none.")] = Style.AUTO,
    options: Options = DEFAULTS,
) -> None:
    """Start a lab, or go on with one that was stopped.

    keystead up
    keystead up edge --hosts 8 --pace 60 --name second
    """
    limit = duration("--timeout", timeout)
    if not 0 < limit <= LONGEST:
        raise KeysteadError("KS-USE-003", f"--timeout {timeout}: above 0s, at most 24h")
    folder = LabFolder(options.name)
    record = folder.record()
    knobs = assignments("--set", set_)
    changes = {**shape.changes(), **({"knobs": knobs} if knobs else {})}
    wanted = None
    if file or changes or record is None:
        wanted = _lab_file(file or DEFAULT_FILE, changes, options.name)
    if record is not None:
        launch.check_same(folder, record, wanted, seed)
        if state_of(folder) is LabState.RUNNING:
            say(f"the lab {folder.name} is running already")
            status(options=options)
            return
    fresh = record is None
    if record is None:
        import secrets

        drawn = secrets.randbelow(1 << 31) if seed is None else seed
        record = LabRecord(name=folder.name, file=wanted or {}, seed=drawn, wall=time.time())
    _refuse_without_tpm(record.file)
    _start(launch.Start(folder, record, fresh=fresh, retain=retain), limit, wait, progress, options)


def _lab_file(source: str, changes: dict[str, Any], name: str) -> dict[str, Any]:
    """The Lab file with all overrides, as plain data. A bad file is KS-TOPO-001, a bad option
    KS-USE-003."""
    from lab.topology.lab_file import load, plan

    made = load(source)
    plan(made)
    try:
        made = load(made.model_dump(mode="json"), name=name, **changes)
        plan(made)
    except KeysteadError as error:
        text = str(error).removeprefix("lab: ")
        raise KeysteadError("KS-USE-003", f"the options do not fit: {text}") from None
    return made.model_dump(mode="json")


def _refuse_without_tpm(file: dict[str, Any]) -> None:
    """KS-TPM-001 without libraries. ``model`` is no TPM: a lab of real processes that sealed
    into it would show nothing; a host without TPM is legal."""
    backends = launch.summary(file)["tpm"]
    if backends.get("model"):
        raise KeysteadError(
            "KS-USE-003",
            "--tpm model is for simulations: its keys are sealed by nothing real",
            "--tpm libtpms, or --tpm none; `keystead chaos run NAME --mode sim` uses the model",
        )
    if backends.get("libtpms"):
        from services.runtime.tpm.backends import available

        missing = available()
        if missing:
            raise KeysteadError("KS-TPM-001", missing)


def _start(
    start: launch.Start, limit: float, wait: bool, progress: Style, options: Options
) -> None:
    begun = time.monotonic()
    name = start.folder.name
    try:
        with telling(progress, f"starting the lab {name}") as told:
            start.run(told, timeout=limit, wait=wait)
    except launch.Interrupted:
        left = (
            ""
            if start.fresh and not start.retain
            else f"; its state stays in {start.log.parent.parent}"
        )
        say(f"keystead: interrupted: the lab {name} is down again{left}")
        sys.exit(130)
    seconds = time.monotonic() - begun
    _present(_description(start, "running" if wait else "starting", seconds), options)


def _description(start: launch.Start, state: str, seconds: float) -> dict[str, Any]:
    """What runs now."""
    import json

    from lab.brokers.program import find_server

    record, path = start.record, start.folder.path
    ports: dict[str, str] = {}
    for kind in ("data", "control"):
        text = start.folder.read(f"broker-{kind}/endpoint.json")
        if text:
            ports[kind] = f"nats://127.0.0.1:{json.loads(text)['port']}"
    server = find_server()
    return {
        "kind": "Lab",
        "name": record.name,
        "state": state,
        "seconds": round(seconds, 2),
        "brokers": {"server": ".".join(map(str, server.version)), **ports},
        **launch.summary(record.file, len(record.hosts_added)),
        "seed": record.seed,
        "folder": str(path),
        "supervisor": start.folder.supervisor(),
        "try": _three_things(record),
    }


def _three_things(record: LabRecord) -> list[str]:
    """Commands that fit this lab, to begin with."""
    more = "" if record.name == DEFAULTS.name else f" --name {record.name}"
    kms = [k["name"] for k in record.file["kms"]]
    hosts = launch.summary(record.file)["hosts"]
    found = [f"keystead get vms{more}"]
    if kms:
        found.append(f"keystead link cut vcenter {kms[0]}{more}")
    if hosts:
        found.append(f"keystead host reboot esxi-001{more}")
    return [*found, f"keystead status{more}", f"keystead get nodes{more}"][:3]


def _present(lab: dict[str, Any], options: Options) -> None:
    if is_document(options.output):
        document(lab, options.output)
        return
    if options.output is Format.NAME:
        plain(lab["name"])
        return
    brokers = lab["brokers"]
    tpm = ", ".join(
        f"{'no TPM' if kind == 'none' else kind} under {n} hosts" for kind, n in lab["tpm"].items()
    )
    pairs(
        [
            ("lab", f"{lab['name']}, {lab['state']} after {lab['seconds']:.1f} s"),
            (
                "brokers",
                f"nats-server {brokers['server']}: data {brokers.get('data', '-')}, "
                f"control {brokers.get('control', '-')}",
            ),
            ("tpm", tpm),
            ("pace", f"{lab['pace']:g} (lab seconds in one second)"),
            ("processes", lab["processes"]),
            ("hosts", lab["hosts"]),
            ("vms", lab["vms"]),
            ("folder", lab["folder"]),
        ]
    )
    sys.stdout.flush()
    say("try:")
    for line in lab["try"]:
        say(f"  {as_typed(line)}")


def down(
    *,
    purge: Annotated[
        bool, Parameter(negative="", help="Remove its folder too: disks, TPMs, keys, logs.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Stop a lab; its state stays on disk, unless --purge.

    keystead down
    keystead down --purge --name second
    """
    folder = LabFolder(options.name)
    if not folder.path.exists():
        raise KeysteadError("KS-LAB-001", f"there is no lab {folder.name}")
    stopped = launch.stop(folder)
    # A start that was stopped halfway may have taken its folder along.
    removed = purge or not folder.path.exists()
    if purge and folder.path.exists():
        launch.purge(folder)
    if is_document(options.output):
        made = {"kind": "LabDown", "name": folder.name, "stopped": stopped, "removed": removed}
        document(made, options.output)
        return
    first = "is stopped" if stopped else "was not running"
    rest = "and removed" if removed else f"; its state stays in {folder.path}"
    say(f"the lab {folder.name} {first} {rest}".replace(" ;", ";"))


def status(*, options: Options = DEFAULTS) -> None:
    """A running lab in short: nodes, VMs, faults, folder, processes.

    keystead status
    keystead status --name second -o json
    """
    answer = call(options, GetStatus())
    if is_document(options.output):
        document(answer, options.output)
        return
    if options.output is Format.NAME:
        plain(answer.name)
        return
    shown = [(k, v) for k, v in fields_of(answer).items() if k != "pids"]
    if options.output is Format.WIDE:
        shown += [(f"pid {p.pid}", p.name) for p in answer.pids]
    else:
        shown.append(("processes", len(answer.pids)))
    pairs([(name.replace("_", " "), value) for name, value in shown])


def list_labs(*, options: Options = DEFAULTS) -> None:
    """All labs of this user: running, stopped, killed.

    keystead list
    keystead list -o json
    """
    items = [_row(folder) for folder in all_labs()]
    columns = (
        field("name"),
        field("state"),
        field("hosts"),
        field("vms"),
        ("PACE", lambda r: f"{r['pace']:g}" if r["pace"] else None),
        ("PID", lambda r: r["supervisor"] or None),
    )
    wide = (field("seed"), field("folder"))
    show(
        {"kind": "LabList", "items": [i for i in items if i["state"]]},
        options.output,
        columns,
        wide,
        key="name",
    )


def _row(folder: LabFolder) -> dict[str, Any]:
    state = state_of(folder)
    row: dict[str, Any] = {
        "name": folder.name,
        "state": None if state is None else state.value,
        "hosts": None,
        "vms": None,
        "pace": None,
        "supervisor": folder.supervisor(),
        "seed": None,
        "folder": str(folder.path),
    }
    try:
        record = folder.record()
    except KeysteadError:
        return {**row, "state": "of another version"}
    if record is not None:
        short = launch.summary(record.file, len(record.hosts_added))
        row |= {k: short[k] for k in ("hosts", "vms", "pace")} | {"seed": record.seed}
    return row


def version(*, options: Options = DEFAULTS) -> None:
    """Versions of keystead and of what it runs on.

    keystead version
    keystead version -o json
    """
    import platform
    from importlib import metadata

    from lab.brokers.program import find_server

    def of(package: str) -> str | None:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    try:
        server: str | None = str(find_server())
    except KeysteadError:
        server = None
    answer = {
        "kind": "Version",
        "keystead": of("keystead") or _of_tree(),
        "python": platform.python_version(),
        "nats_server": server,
        "tpm2_pytss": of("tpm2-pytss"),
    }
    if is_document(options.output):
        document(answer, options.output)
    else:
        for name, value in answer.items():
            if name != "kind":
                plain(f"{name.replace('_', '-')} {value or 'not there'}")


def _of_tree() -> str | None:
    """The version of a checkout that is not installed."""
    import tomllib

    try:
        with (launch.ROOT / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    except (OSError, KeyError):
        return None


def register(app: App) -> None:
    for command in (up, down, status, version):
        app.command(command)
    app.command(list_labs, name="list")
