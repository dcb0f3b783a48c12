"""Answers that are printed as a page, a line or a text of their own, by their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from chaos.providers import STANDARD, kind_of
from lab.cli.options import LabOptions
from lab.cli.output import hint, pairs, plain, say, show
from lab.schema.answers import (
    DumpContent,
    EsxcliResult,
    EventLine,
    Fault,
    HealReport,
    HostDescription,
    KeyOfVm,
    KeyOnHost,
    KnownKey,
    Pcrs,
    ProviderDescription,
    Reason,
    RunStopped,
    SigningRequest,
    Tpm,
    VirtualTpm,
    VmDescription,
    Vsan,
    VsanHealthReport,
)
from lab.schema.answers.faults import FaultLeft
from lab.schema.answers.vsan import VsanGroupLine
from lab.schema.tables import Row, field, moment, text

# ---- what is known of one object ----------------------------------------------------------


def print_vm(answer: VmDescription, options: LabOptions) -> None:
    """``describe vm``."""
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


def print_host(answer: HostDescription, options: LabOptions) -> None:
    """``describe host``."""
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
            ("attestation", str(seen) if seen else None),
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


def print_provider(answer: ProviderDescription, options: LabOptions) -> None:
    """``describe provider``."""
    listed = answer.vcenter
    pairs(
        [
            ("provider", answer.provider),
            ("type", listed.management_type if listed else None),
            ("servers", listed.servers if listed else ()),
            ("default", listed.default if listed else None),
            ("status", listed.describe_status() if listed else None),
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


# ---- vSAN ---------------------------------------------------------------------------------


def print_vsan_health(found: VsanHealthReport, options: LabOptions) -> None:
    """``vsan health``."""
    plain(f"cluster:       {found.cluster}\nhealth:        {found.health.value}")
    for test in found.tests:
        plain(f"test:          {test.test}: {test.health.value}")
        for detail in test.details:
            plain(f"               - {detail}")
    for host in found.hosts:
        kms = {None: "-", True: "reached", False: "not reached"}[host.kms_connected]
        issues = ", ".join(issue.value for issue in host.issues) or "none"
        plain(f"host:          {host.host}: {host.health.value}, key server {kms}, issues {issues}")


def print_vsan(found: Vsan, options: LabOptions) -> None:
    """A cluster's vSAN."""
    plain(f"cluster:       {found.cluster}")
    state = found.transition_state.value
    plain(f"encryption:    {'on' if found.encryption_enabled else 'off'}, {state}")
    if found.change is not None:
        plain(f"change:        {found.change.value}")
    if found.encryption_enabled:
        plain(f"provider:      {found.provider}")
        plain(f"kek:           {text(found.kek) if found.kek else 'one for each disk group'}")
        plain(f"host key:      {text(found.host_key)}")
        plain(f"data keys:     generation {found.dek_generation}")
    for group in found.groups:
        how = "mounted" if group.mounted else f"not mounted: {group.why}"
        own = _own_keks(group) if found.encryption_enabled and not found.kek else ""
        plain(f"disk group:    {group.host} {group.group}, {len(group.disks)} disks{own}, {how}")
    for host in found.silent:
        plain(f"disk group:    {host} does not answer")
    for item in found.objects:
        parts = ", ".join(f"{c.kind} {c.host} {c.state.value}" for c in item.components)
        plain(f"object:        {item.object} {_reach(item.accessible)} ({parts})")


def _own_keks(group: VsanGroupLine) -> str:
    """The KEKs of a group that has its own: more than one while they are being changed (C3)."""
    keks = sorted({str(disk.key) for disk in group.disks if disk.key})
    return f", kek {' and '.join(keks)}" if keks else ""


def _reach(accessible: bool) -> str:
    return "accessible" if accessible else "INACCESSIBLE"


# ---- faults -------------------------------------------------------------------------------


def print_fault(answer: Fault, options: LabOptions) -> None:
    """A fault that was seen to bite."""
    show({"items": [answer.fault]}, options.output, (field("id"), field("summary")), key="id")


def print_healed(report: HealReport, options: LabOptions) -> None:
    """``heal``: what was seen gone, and what was left."""
    rows = [{"id": id, "outcome": "healed"} for id in report.healed]
    rows += [{"id": one.id, "outcome": _outcome(one, report.with_cure)} for one in report.left]
    if rows:
        show({"items": rows}, options.output, (field("id"), field("outcome")), key="id")
    else:
        say("no fault is in force")


def _outcome(left: FaultLeft, with_cure: bool) -> str:
    if left.reversible:
        return "NOT HEALED"
    return "NOT CURED" if with_cure else "stays: it has no undo"


# ---- texts --------------------------------------------------------------------------------


def print_tpm(tpm: Tpm, options: LabOptions) -> None:
    """``tpm inspect``: all but the PCRs, which have a command."""
    pairs([(name, getattr(tpm, name)) for name in tpm.__struct_fields__ if name != "pcrs"])


def print_pcrs(answer: Pcrs, options: LabOptions) -> None:
    """``tpm pcrs``."""
    pairs([(f"PCR {index}", value) for index, value in answer.pcrs.items()])


def print_key(answer: KnownKey, options: LabOptions) -> None:
    """A key that vCenter knows, or not any more."""
    if answer.known:
        plain(answer.key)
    else:
        say(f"vCenter does not know {answer.key} any more")


def print_esxcli(answer: EsxcliResult, options: LabOptions) -> None:
    """What the console printed; of a command that failed, on stderr."""
    if answer.output:
        (plain if answer.exit_code == 0 else say)(answer.output.rstrip("\n"))


def print_request(answer: SigningRequest, options: LabOptions) -> None:
    """The request itself, for a file."""
    plain(answer.request.rstrip("\n"))


def print_dump(answer: DumpContent, options: LabOptions) -> None:
    """What is in a core dump."""
    plain(answer.content.decode(errors="replace").rstrip("\n"))


def print_stopped(answer: RunStopped, options: LabOptions) -> None:
    """The run that was told to end."""
    plain(answer.run)
    hint(f"keystead describe run {answer.run}")


Page = Callable[[Any, LabOptions], None]
PAGES: dict[type, Page] = {
    VmDescription: print_vm,
    HostDescription: print_host,
    ProviderDescription: print_provider,
    Vsan: print_vsan,
    VsanHealthReport: print_vsan_health,
    Fault: print_fault,
    HealReport: print_healed,
    Tpm: print_tpm,
    Pcrs: print_pcrs,
    KnownKey: print_key,
    EsxcliResult: print_esxcli,
    SigningRequest: print_request,
    DumpContent: print_dump,
    RunStopped: print_stopped,
}
"""By the kind of the answer; every other one is printed by its table."""
