"""``get hosts|nodes|tpm``, ``host ...``, ``esx``, ``tpm ...``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from cyclopts import App, Parameter

from lab.cli.connect import call
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, pairs, plain, say, show
from lab.errors import KeysteadError

HOSTS = (
    field("host"),
    ("STATE", lambda r: f"{r['connection']}{' (stale)' if r['stale'] else ''}"),
    ("MACHINE", lambda r: r["machine"]),
    ("CRYPTO", lambda r: r["crypto_state"]),
    ("PERSISTENCE", lambda r: "on" if r["key_persistence"] else "off"),
    ("TPM", lambda r: r["tpm_present"]),
    field("cached_keys", "KEYS"),
    field("boot"),
)
HOSTS_WIDE = (field("cluster"), field("version"), field("crypto_key_id", "HOST KEY"), field("screen"))
POWER = (field("host"), field("machine"), field("boot"), field("ended"), field("screen"))


def get_hosts(*, options: Options = DEFAULTS) -> None:
    """Hosts as vCenter sees them, with the state of their machines."""
    show(call(options, "get.hosts"), options.output, HOSTS, HOSTS_WIDE, key="host")


def get_nodes(*, options: Options = DEFAULTS) -> None:
    """Every node of the lab: machine state, boots, screen."""
    columns = (field("node"), field("role"), field("site"), field("state"), field("boot"))
    wide = (field("ended"), field("screen"), field("counters"))
    show(call(options, "get.nodes"), options.output, columns, wide, key="node")


def get_tpm(*, options: Options = DEFAULTS) -> None:
    """The TPM under each host."""
    columns = (
        field("host"),
        field("backend"),
        field("state"),
        field("reset_count", "RESETS"),
        field("safe"),
        field("lockout"),
        ("EK", lambda r: (r.get("ek") or "")[:16]),
    )
    wide = (("PCR 7", lambda r: r.get("pcrs", {}).get("7", "")),)
    show(call(options, "get.tpm"), options.output, columns, wide, key="host")


def _power(options: Options, verb: str, hosts: tuple[str, ...], **more: Any) -> None:
    if not hosts:
        raise KeysteadError("KS-USE-003", "name at least one host")
    show(call(options, verb, hosts=hosts, **more), options.output, POWER, key="host")


def reboot(*hosts: str, options: Options = DEFAULTS) -> None:
    """Reboot hosts orderly: archive saved, TPM2_Shutdown, fresh measured boot."""
    _power(options, "host.reboot", hosts)


def crash(*hosts: str, options: Options = DEFAULTS) -> None:
    """Crash hosts: what was written survives; they stay off."""
    _power(options, "host.crash", hosts)


def power_loss(*hosts: str, stay_off: bool = False, options: Options = DEFAULTS) -> None:
    """Pull hosts' power; it comes back at once, unless --stay-off. Only synced bytes survive."""
    _power(options, "host.power-loss", hosts, stay_off=stay_off)


def power_on(
    *hosts: str,
    boot_option: Annotated[
        tuple[str, ...], Parameter(help="NAME=VALUE typed at the loader.", negative="")
    ] = (),
    options: Options = DEFAULTS,
) -> None:
    """Power hosts (or vcenter, kms) on."""
    typed: dict[str, str] = {}
    for option in boot_option:
        name, sign, value = option.partition("=")
        if not sign:
            raise KeysteadError("KS-USE-003", f"--boot-option {option}: write NAME=VALUE")
        typed[name] = value
    _power(options, "host.power-on", hosts, options=typed)


def power_off(*hosts: str, options: Options = DEFAULTS) -> None:
    """Shut hosts (or vcenter, kms) down orderly."""
    _power(options, "host.shutdown", hosts)


def pause(*hosts: str, options: Options = DEFAULTS) -> None:
    """Stop the processes of hosts by signal: neither dead nor answering."""
    columns = (field("host"), field("paused"))
    show(call(options, "host.pause", hosts=hosts), options.output, columns, key="host")


def resume(*hosts: str, options: Options = DEFAULTS) -> None:
    """Let paused processes go on."""
    columns = (field("host"), field("paused"))
    show(call(options, "host.resume", hosts=hosts), options.output, columns, key="host")


def add(host: str = "", *, cluster: str = "", options: Options = DEFAULTS) -> None:
    """Add a new host to a cluster: made, powered on, added in vCenter."""
    answer = call(options, "host.add", host=host, cluster=cluster)
    if options.output in (Format.TABLE, Format.WIDE):
        say(f"added {answer['host']} to {answer['cluster']}: {answer['connection']}")
    else:
        document(answer, options.output)


def esx(
    host: str,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    options: Options = DEFAULTS,
) -> int:
    """esxcli at a host's console: `keystead esx esxi-001 system security keypersistence get`."""
    answer = call(options, "esx", host=host, arguments=arguments)
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    elif answer["output"]:
        (plain if answer["exit_code"] == 0 else say)(answer["output"].rstrip("\n"))
    sys.stdout.flush()
    return int(answer["exit_code"])


def inspect(host: str, *, options: Options = DEFAULTS) -> None:
    """What a host's TPM tells of itself."""
    answer = call(options, "tpm.inspect", host=host)
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    else:
        pairs([(k, v) for k, v in answer.items() if k not in ("kind", "pcrs")])


def pcrs(host: str, *, options: Options = DEFAULTS) -> None:
    """PCR 0 to 7 of a host's TPM."""
    answer = call(options, "tpm.inspect", host=host)
    if options.output in (Format.JSON, Format.YAML):
        document({"kind": "Pcrs", "host": host, "pcrs": answer.get("pcrs", {})}, options.output)
    else:
        pairs([(f"PCR {index}", value) for index, value in answer.get("pcrs", {}).items()])


def _tpm_fault(options: Options, kind: str, host: str) -> None:
    answer = call(options, "fault.inject", kind=kind, values={"on": host})
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
    else:
        say(f"{answer['fault']['id']}: {answer['fault']['summary']}")
        say(f"  cure: {answer['fault']['cure']}")


def clear(host: str, *, options: Options = DEFAULTS) -> None:
    """Clear a host's TPM (new storage seed): a fault without undo, see its cure."""
    _tpm_fault(options, "tpm.clear", host)


def swap(host: str, *, options: Options = DEFAULTS) -> None:
    """Replace a host's TPM by a new one: a fault without undo, see its cure."""
    _tpm_fault(options, "tpm.swap", host)


def register(app: App) -> None:
    get, host, tpm = app["get"], App(name="host", help="Hosts."), App(name="tpm", help="TPMs.")
    for command in (get_hosts, get_nodes, get_tpm):
        get.command(command, name=command.__name__.removeprefix("get_"))
    for command in (reboot, crash, power_loss, power_on, power_off, pause, resume, add):
        host.command(command)
    for command in (inspect, pcrs, clear, swap):
        tpm.command(command)
    app.command(host)
    app.command(tpm)
    app.command(esx)
