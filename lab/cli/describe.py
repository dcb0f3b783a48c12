"""``describe vm|host|provider|run``: what is known, and why it is so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chaos.providers import STANDARD, kind_of
from lab.cli.connect import call
from lab.cli.hosts import attestation
from lab.cli.keys import provider_status
from lab.cli.names import HostName, VmName
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import (
    Row,
    document,
    is_document,
    moment,
    pairs,
    plain,
    text,
    value_of,
)
from lab.schema.commands import DescribeHost, DescribeProvider, DescribeVm

if TYPE_CHECKING:
    from lab.schema.answers import EventLine, KeyOfVm, KeyOnHost, Reason, VirtualTpm, VmDescription


def describe_vm(vm: VmName, *, options: Options = DEFAULTS) -> None:
    """A VM: power, keys, and why it is locked or not, with the rule and the cure.

    keystead describe vm vm-01
    keystead describe vm vm-01 -o json
    """
    answer = call(options, DescribeVm(vm))
    if _document(answer, options, "vm"):
        return
    listed, own = answer.vcenter, answer.host_view
    pairs(
        [
            ("vm", answer.vm),
            ("host", answer.host),
            ("vcenter says", _view(listed, "power", "crypto", "connection")),
            ("its host says", _view(own, "power", "crypto", "connection")),
            ("last command", own.wanted if own else None),
            ("hardware", _hardware(answer)),
            ("vtpm", _vtpm(answer.vtpm)),
            ("lock event", listed.lock_event if listed else None),
            ("alarms", listed.alarms if listed else None),
        ]
    )
    if own is not None and own.disks:
        plain("\ndisks:")
        for disk in own.disks:
            plain(f"  {disk.label}: {disk.blocks} blocks; {disk.key or 'not encrypted'}")
    if listed is not None and listed.snapshots:
        plain("\nsnapshots:")
        for name in listed.snapshots:
            memory = "with memory" if name in listed.with_memory else "without memory"
            plain(f"  {name}: {memory}")
    if answer.keys:
        plain("\nkeys:")
        for key in answer.keys:
            stored = {True: "; stored on the host", False: "; not stored on the host", None: ""}
            plain(f"  {key.key}: {_source(key)}{stored[key.stored]}")
    _why(answer.reasons)
    _faults(answer.faults)
    _events(answer.events)


def _source(key: KeyOfVm) -> str:
    kind = kind_of(key.kind)
    state = f": {key.state or 'not known there, or nobody to ask'}" if kind is STANDARD else ""
    return f"{kind.value_from}{state}"


def _hardware(answer: VmDescription) -> str | None:
    return f"{answer.firmware}, version {answer.hardware}" if answer.firmware else None


def _vtpm(vtpm: VirtualTpm | None) -> str | None:
    if vtpm is None:
        return None
    signed = vtpm.certificate_flaw or "signed by VMCA"
    return f"EK {vtpm.ek[:16]}…, certificate: {signed}"


def describe_host(host: HostName, *, options: Options = DEFAULTS) -> None:
    """A host: machine, TPM, key persistence, its VMs, and why it is as it is.

    keystead describe host esxi-001
    keystead describe host esxi-001 -o yaml
    """
    answer = call(options, DescribeHost(host))
    if _document(answer, options, "host"):
        return
    machine, listed, own, tpm = answer.machine, answer.vcenter, answer.host_view, answer.tpm
    keys = (own.cached_keys, own.stored_keys) if own else ("-", "-")
    seen = listed.attestation if listed else None
    pairs(
        [
            ("host", answer.host),
            ("machine", f"{machine.state}, boot {machine.boot}"),
            ("screen", machine.screen),
            ("last end", machine.ended),
            ("vcenter says", _view(listed, "connection", "crypto_state")),
            ("crypto mode", own.crypto_state if own else None),
            ("version", own.version if own else None),
            ("protection", own.protection_mode if own else None),
            ("host key", _host_key(answer.host_key)),
            ("key persistence", _switch(own.key_persistence if own else None)),
            ("keys", f"{keys[0]} in the cache, {keys[1]} stored"),
            ("tpm", f"{tpm.backend}, {tpm.state}"),
            ("attestation", attestation(seen) if seen else None),
            ("vms", [f"{v.vm} {v.power}" for v in own.vms] if own else []),
            ("alarms", listed.alarms if listed else None),
        ]
    )
    if answer.keys:
        plain("\nkeys:")
        for key in answer.keys:
            had = (("cached", key.cached), ("stored", key.stored))
            where = [name for name, here in had if here]
            where += ["loaded from the store"] if key.loaded else []
            plain(f"  {key.key}: {', '.join(where)}")
    _why(answer.reasons)
    _faults(answer.faults)
    _events(answer.events)


def _host_key(key: KeyOnHost | None) -> str | None:
    if key is None:
        return None
    managed = f"; management: {key.managed}" if key.managed else ""
    return f"{key.key}, {'present' if key.cached else 'absent'}{managed}"


def describe_provider(provider: str, *, options: Options = DEFAULTS) -> None:
    """A key provider: its servers, their state, and what stands in the way.

    keystead describe provider kms-provider
    keystead describe provider kms-provider -o json
    """
    answer = call(options, DescribeProvider(provider))
    if _document(answer, options, "provider"):
        return
    listed = answer.vcenter
    pairs(
        [
            ("provider", answer.provider),
            ("type", listed.management_type if listed else None),
            ("servers", listed.servers if listed else ()),
            ("default", listed.default if listed else None),
            ("status", provider_status(listed) if listed else None),
            ("health details", listed.details if listed else ()),
        ]
    )
    if answer.servers:
        plain("\nservers:")
    for server in answer.servers:
        contact = f"last answered {moment(server.last_contact)}" if server.last_contact else ""
        user = f"user name {server.user}" if server.user else ""
        told = [server.machine, server.status, contact, server.why, server.peer, user]
        plain(f"  {server.server}: {'; '.join(text(part) for part in told if part)}")
    _why(answer.reasons)
    _faults(answer.faults)


def _document(answer: Row, options: Options, key: str) -> bool:
    if is_document(options.output):
        document(answer, options.output)
    elif options.output is Format.NAME:
        plain(value_of(answer, key))
    else:
        return False
    return True


def _view(row: Row | None, *names: str) -> str:
    found = [] if row is None else [getattr(row, name) for name in names]
    return ", ".join(text(value) for value in found if value is not None) or "nothing"


def _switch(value: bool | None) -> str | None:
    return None if value is None else "on" if value else "off"


def _why(reasons: Sequence[Reason]) -> None:
    """The headline first."""
    if reasons:
        plain("\nwhy:")
    for reason in reasons:
        plain(f"  {reason.why} [{reason.rule}]")
        if reason.cure:
            plain(f"      cure: {reason.cure}")


def _faults(faults: Sequence[str]) -> None:
    if faults:
        plain("\nfaults in force:")
    for fault in faults:
        plain(f"  {fault}")


def _events(events: Sequence[EventLine]) -> None:
    if events:
        plain("\nlast events:")
    for event in events:
        plain(f"  {moment(event.at)}  {event.event}  {event.text}")


def describe_run(run: str, *, options: Options = DEFAULTS) -> None:
    """A stored run: what was done when, what was judged, and how to go on from it.

    keystead describe run edge-outage-reboot-sim-7
    keystead describe run edge-outage-reboot-sim-7 -o json
    """
    from lab.local.runs import describe

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
            ("verdict", ended),
            ("problem", answer.problem),
            ("history", f"{answer.records} records in {answer.folder}"),
        ]
    )
    for fault in answer.faults:
        until = "not seen gone" if fault.ended is None else f"{fault.ended:.1f} s"
        plain(f"  {fault.began:.1f} s to {until}: {fault.error or fault.summary}")
    if verdict is not None:
        for reason in verdict.reasons if not verdict.checks else ():
            plain(f"  {reason}")
        plain("\nchecks:" if verdict.checks else "")
        for check in verdict.checks:
            plain(f"  {check.result:<8}{check.name}: {check.text}")
    for command in answer.examples:
        plain(f"try: {command}")
