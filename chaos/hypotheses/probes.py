"""What hypotheses measure, each by observation only, and their tolerances: ``">= 1"``, ``"<
250ms"``, ``"== 100%"``, ``{ratio: ">= 1"}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Final

import msgspec
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from chaos.lab import REFUSALS
from chaos.observe import look as vsan
from chaos.observe.boots import Recoveries
from chaos.observe.guests import Guests
from chaos.observe.look import WITHIN_S, LabLook
from chaos.percentiles import value_at
from chaos.workload.base import OperationCounts
from protocol.messages.agent import NodeRunState
from protocol.messages.host.crypto import DecryptDump, ListDumps
from protocol.terms import (
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    ProtectionMode,
    ProviderHealth,
    VmConnectionState,
    VmCryptoState,
    VmName,
)


class Unit(StrEnum):
    """The unit of a probe's value."""

    RATIO = "ratio"
    SECONDS = "seconds"
    COUNT = "count"


_FORM = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|%)?")
_SCALE = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "%": 0.01}


class Tolerance(msgspec.Struct, frozen=True):
    """A comparison: ``holds(measured)``; ``text`` is as it was written."""

    compare: str
    limit: float
    suffix: str
    text: str
    EPSILON: ClassVar[float] = 1e-9

    def holds(self, value: float) -> bool:
        """Whether a measured value is within the tolerance; false for NaN."""
        if math.isnan(value):
            return False
        equal = math.isclose(value, self.limit, abs_tol=self.EPSILON)
        match self.compare:
            case ">=":
                return value > self.limit or equal
            case "<=":
                return value < self.limit or equal
            case "==":
                return equal
            case "!=":
                return not equal
            case ">":
                return value > self.limit and not equal
            case _:
                return value < self.limit and not equal

    def fits(self, unit: Unit) -> str:
        """Empty when it fits a probe of this unit, else what is wrong."""
        match unit:
            case Unit.SECONDS:
                wanted, good = "a time such as 60s", self.suffix in ("ms", "s", "m", "h")
            case Unit.RATIO:
                good = self.suffix in ("", "%") and self.limit <= 1
                wanted = "a ratio between 0 and 1, or 0% and 100%"
            case Unit.COUNT:
                wanted, good = "a number", self.suffix == ""
        return "" if good else f"{self.text!r}: this probe measures {unit.value}; give {wanted}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)


def read_above(value: object) -> object:
    """``> value``: for a limit that is written without its comparison."""
    return _parse_limit(">", value)


def read_below(value: object) -> object:
    """``< value``."""
    return _parse_limit("<", value)


def _parse_limit(compare: str, value: object) -> object:
    if isinstance(value, Tolerance):
        return value
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value}" if plain or isinstance(value, str) else ""
    if _FORM.fullmatch(f"{compare} {text.strip()}") is None:
        raise PydanticCustomError("no_limit", "no limit: write 3, 50% or 2s")
    return tolerance(f"{compare} {text.strip()}")


def tolerance(value: object) -> Tolerance:
    """Parse a tolerance of an experiment file; ``PydanticCustomError`` when it is none."""
    if isinstance(value, Tolerance):
        return value
    if isinstance(value, Mapping) and list(value) == ["ratio"]:
        value = value["ratio"]
    found = _FORM.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError(
            "no_tolerance", 'no tolerance: write ">= 1", "== 0", "< 250ms" or {ratio: ">= 1"}'
        )
    suffix = found[3] or ""
    return Tolerance(
        compare=found[1],
        limit=float(found[2]) * _SCALE.get(suffix, 1.0),
        suffix=suffix,
        text=str(value).strip(),
    )


SECURITY_VIOLATION: Final = "A security violation was detected."
"""The end of the message on the screen of a host whose TPM does not open its configuration."""


@dataclass(frozen=True)
class Measured:
    """A measured value, NaN when there was nothing to measure, and the details behind it."""

    value: float
    detail: str = ""


@dataclass(frozen=True)
class Scope:
    """The subject of a probe: the selected ``vms`` or ``hosts``, an ``op``, a ``view``."""

    vms: tuple[VmName, ...] = ()
    hosts: tuple[NodeName, ...] = ()
    op: str | None = None
    view: str = "host"


@dataclass(frozen=True)
class Sources:
    """Data of the run that probes read besides a look at the lab."""

    guests: Guests
    recoveries: Recoveries
    operations: OperationCounts


Measure = Callable[[LabLook, Scope, Sources], Awaitable[Measured]]


@dataclass(frozen=True)
class Probe:
    """One thing that can be measured. ``about``: what ``on`` selects: vms, hosts, or nothing.
    ``acts``: it makes guests work, instead of only looking."""

    name: str
    unit: Unit
    about: str
    live: bool
    doc: str
    measure: Measure
    acts: bool = False


def _ratio(good: Sequence[str], bad: Sequence[str]) -> Measured:
    total = len(good) + len(bad)
    if not total:
        return Measured(math.nan, "there is nothing to measure")
    shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    return Measured(len(good) / total, f"not: {shown}" if bad else f"all {total}")


def _split(names: Sequence[str], good: Callable[[str], bool]) -> Measured:
    return _ratio([n for n in names if good(n)], [n for n in names if not good(n)])


async def _vm_running(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    if scope.view == "vcenter":
        listed = await look.vcenter_vms()
        on = {
            str(name)
            for name, info in listed.items()
            if info.power is PowerState.ON and info.connection is VmConnectionState.CONNECTED
        }
    else:
        seen = await look.vms()
        on = {str(name) for name, (_, vm) in seen.items() if vm.power is PowerState.ON}
    return _split(scope.vms, on.__contains__)


async def _vm_locked(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    if scope.view == "vcenter":
        listed = await look.vcenter_vms()
        states = {str(name): info.crypto for name, info in listed.items()}
        plain = {str(name) for name, info in listed.items() if info.key is None}
    else:
        states = {str(name): vm.crypto for name, (_, vm) in (await look.vms()).items()}
        plain = {vm for vm, crypto in states.items() if crypto is None}
    encrypted = [vm for vm in scope.vms if vm not in plain]
    locked = {vm for vm in encrypted if states.get(vm) is VmCryptoState.LOCKED}
    if not encrypted:
        return Measured(math.nan, "no VM is encrypted")
    detail = f"locked: {', '.join(vm for vm in encrypted if vm in locked) or 'none'}"
    return Measured(len(locked) / len(encrypted), detail)


async def _vm_works(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    seen = await look.vms()
    right: list[str] = []
    other: list[str] = []
    for vm in scope.vms:
        if vm not in seen:
            other.append(f"{vm} (no host answers for it)")
            continue
        asked = await sources.guests.challenge(vm, seen[vm][0])
        if asked.right is True:
            right.append(str(vm))
        else:
            other.append(asked.detail)
    return _ratio(right, other)


async def _host_safe(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    seen = await look.hosts()
    safe = {str(h) for h, s in seen.items() if s.crypto_state is HostCryptoState.SAFE}
    return _split(scope.hosts, safe.__contains__)


async def _host_sealed(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    seen = await look.hosts()
    sealed = {str(h) for h, s in seen.items() if s.protection_mode is ProtectionMode.TPM}
    return _split(scope.hosts, sealed.__contains__)


async def _host_persists(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    seen = await look.hosts()
    return _split(scope.hosts, {str(h) for h, s in seen.items() if s.key_persistence}.__contains__)


async def _host_connected(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    listed = await look.vcenter_hosts()
    good = {
        str(host)
        for host, info in listed.items()
        if info.connection is HostConnectionState.CONNECTED
    }
    return _split(scope.hosts, good.__contains__)


async def _in_state(state: NodeRunState, look: LabLook, scope: Scope, sources: Sources) -> Measured:
    good = {str(node) for node, seen in (await look.status()).items() if seen.state is state}
    return _split(scope.hosts, good.__contains__)


async def _dump_readable(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    """Each dump is really decrypted: what its host says of it is not asked."""
    right: list[str] = []
    other: list[str] = []
    for host in scope.hosts:
        try:
            dumps = (await look.lab.ask(host, ListDumps(), within_s=WITHIN_S)).dumps
        except REFUSALS:
            other.append(f"{host} (it does not answer)")
            continue
        for dump in dumps:
            try:
                await look.lab.ask(host, DecryptDump(dump=dump.dump), within_s=WITHIN_S)
            except REFUSALS as error:
                other.append(f"{host} {dump.dump}: {type(error).__name__}")
            else:
                right.append(f"{host} {dump.dump}")
    return _ratio(right, other)


async def _vsan_mounted(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    found = await vsan.vsan_states(look.lab)
    if not found:
        return Measured(math.nan, "no host that answers has a disk group")
    good = {str(host) for host, state in found.items() if vsan.are_groups_mounted(state)}
    return _split(scope.hosts, good.__contains__)


async def _vsan_readable(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    found = await vsan.read_vsan_block(look.lab, await vsan.vsan_states(look.lab))
    return _split(list(found), found.__getitem__)


async def _security_violation(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    """Message A of B2: whatever keeps the TPM from opening the configuration ends in it."""
    seen = {
        str(node)
        for node, status in (await look.status()).items()
        if status.state is NodeRunState.HALTED and SECURITY_VIOLATION in status.screen
    }
    return _split(scope.hosts, seen.__contains__)


async def _key_available(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    vms = await look.vcenter_vms()
    keys = tuple(dict.fromkeys(v.key for n, v in vms.items() if n in scope.vms and v.key))
    found = await look.key_status(keys)
    if found is None or not vms:
        return Measured(0.0, "vCenter does not answer")
    good = {str(key) for key, status in found.items() if status.available}
    return _split([str(key) for key in keys], good.__contains__)


async def _provider_green(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    providers = await look.providers()
    if providers is None:
        return Measured(0.0, "vCenter does not answer")
    good = {
        str(p.provider) for p in providers if p.status == "green" or p.health is ProviderHealth.OK
    }
    return _split([str(p.provider) for p in providers], good.__contains__)


async def _internal_errors(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    counts = {n: s.counters.get("internal_errors", 0) for n, s in (await look.status()).items()}
    bad = [f"{node}: {count}" for node, count in counts.items() if count]
    return Measured(float(sum(counts.values())), ", ".join(bad))


async def _back_within(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    done = [r for r in sources.recoveries.done if r.host in scope.hosts]
    if not done:
        return Measured(math.nan, "no host with running VMs booted")
    worst = max(done, key=lambda r: r.seconds)
    detail = f"{worst.host} (boot {worst.boot})"
    if worst.missing:
        detail += f": {', '.join(worst.missing)} never ran again"
    return Measured(worst.seconds, f"worst: {detail}")


async def _kms_calls(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    done = [r for r in sources.recoveries.done if r.host in scope.hosts]
    counted = [r.kms_calls for r in done]
    if not done or None in counted:
        return Measured(math.nan, "no recovery was counted from its begin to its end")
    return Measured(float(sum(c for c in counted if c is not None)), f"{len(done)} recoveries")


async def _busiest_second(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    given = await sources.recoveries.busiest_second()
    if given is None:
        return Measured(math.nan, "no host booted, or a key server could not be asked")
    return Measured(float(given), "keys in a second")


async def _op_ok(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    ok, other = sources.operations.ok, sources.operations.other
    ops = [scope.op] if scope.op else sorted({*ok, *other})
    good, bad = sum(ok.get(op, 0) for op in ops), sum(other.get(op, 0) for op in ops)
    if not good + bad:
        return Measured(math.nan, "no operation was tried")
    return Measured(good / (good + bad), f"{good} ok, {bad} not")


async def _op_p99(look: LabLook, scope: Scope, sources: Sources) -> Measured:
    taken = sources.operations.seconds
    ops = [scope.op] if scope.op else sorted(taken)
    values = sorted(value for op in ops for value in taken.get(op, []))
    p99_s = value_at(values, 99)
    if p99_s is None:
        return Measured(math.nan, "no operation ended well")
    return Measured(p99_s, f"of {len(values)}")


R, S, C = Unit.RATIO, Unit.SECONDS, Unit.COUNT
_ALL = (
    Probe("vm.running", R, "vms", True, "share of VMs that are powered on", _vm_running),
    Probe(
        "vm.works",
        R,
        "vms",
        True,
        "share whose guest answers a challenge right",
        _vm_works,
        acts=True,
    ),
    Probe("vm.locked", R, "vms", True, "share of encrypted VMs that are locked", _vm_locked),
    Probe("host.safe", R, "hosts", True, "share of hosts in crypto state safe", _host_safe),
    Probe("host.sealed", R, "hosts", True, "share in protection mode TPM", _host_sealed),
    Probe("host.persists", R, "hosts", True, "share that persists keys", _host_persists),
    Probe("host.connected", R, "hosts", True, "share that vCenter holds", _host_connected),
    Probe(
        "host.up",
        R,
        "hosts",
        True,
        "share of hosts that run",
        partial(_in_state, NodeRunState.RUNNING),
    ),
    Probe(
        "host.halted",
        R,
        "hosts",
        True,
        "share stopped at their screen",
        partial(_in_state, NodeRunState.HALTED),
    ),
    Probe(
        "host.security_violation",
        R,
        "hosts",
        True,
        "share stopped at their screen by a security violation: no TPM opens their configuration",
        _security_violation,
    ),
    Probe("dump.readable", R, "hosts", True, "share of core dumps that open", _dump_readable),
    Probe("vsan.mounted", R, "hosts", True, "share whose disk groups are mounted", _vsan_mounted),
    Probe("vsan.readable", R, "", True, "share of objects that can be read", _vsan_readable),
    Probe("key.available", R, "vms", True, "share of VMs' keys the provider has", _key_available),
    Probe(
        "provider.green",
        R,
        "",
        True,
        "share of providers with status green, native and trusted ones with health OK",
        _provider_green,
    ),
    Probe("node.internal_errors", C, "", True, "unexpected errors in services", _internal_errors),
    Probe("vm.back_within", S, "hosts", False, "longest from boot to all VMs", _back_within),
    Probe("vm.kms_calls", C, "hosts", False, "key server calls from boot to all VMs", _kms_calls),
    Probe(
        "kms.busiest_second",
        C,
        "",
        False,
        "most keys that key servers gave in one second since the first boot of a host",
        _busiest_second,
    ),
    Probe("op.ok", R, "op", False, "share of operations that ended well", _op_ok),
    Probe("op.p99", S, "op", False, "99th percentile of operations that ended well", _op_p99),
)
PROBES: Final[dict[str, Probe]] = {probe.name: probe for probe in _ALL}
