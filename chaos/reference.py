"""The reference of experiment files, derived from the registries.

Each noun (fault, action, entry, probe, op, check, selector, guard) has entries: text, fields with
their values, units and defaults, and an example that is valid in a file.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from chaos.actions import ACTIONS
from chaos.actions.base import Action
from chaos.checks import CHECKS
from chaos.entries import DescribedEntry, EntryField
from chaos.experiment.model import (
    OF_ACTIONS,
    OF_FAULTS,
    ONLY_IN,
    Guards,
    Load,
    Once,
    Point,
    Probed,
    Random,
    Rolling,
    ScheduleEntry,
    WhenSection,
    read_after,
    read_gap,
)
from chaos.faults import FAULTS
from chaos.faults.base import Fault
from chaos.fields import per_second, seconds, share
from chaos.hypotheses.probes import PROBES, Probe, Unit, tolerance
from chaos.selectors import FORMS
from chaos.workload import OPERATIONS, WorkloadOperation

_READERS: Final[dict[Any, str]] = {
    seconds: "a time of the lab: 250ms, 30s, 5m, 1h",
    share: "a share: 5% or 0.05",
    per_second: "a rate: 0.2/s, 3/m, 10/h",
    tolerance: "a comparison with a limit",
    read_after: "the id of an entry, or: id + 20s, end of id, end of id + 20s",
    read_gap: "a time of the lab, or exp(12s): random with that mean",
}
_OF_ENTRY: Final = frozenset({"fault", "do", "point"})
_WAYS: Final = {
    "at": "{at: 30s, for: 5m, fault: link.cut, between: [vcenter, kms]}",
    "after": "{id: a, at: 1s, do: key.generate}, {after: a + 20s, do: key.generate}",
    "once": "{id: a, at: 1s, for: 5s, fault: host.reboot, on: esxi-001}, "
    "{after: end of a, once: {wait: running, on: esxi-001}, do: key.generate}",
    "every": "{at: 30s, every: 20s, times: 3, do: key.generate}",
    "when": "{when: {event: ok:key.create, nth: 3}, for: 10s, fault: vcenter.down}",
    "point": "{point: {node: esxi-002, call: disk.append, path: bootbank/*}, fault: point.crash}",
    "rolling": "{at: 30s, fault: host.reboot, rolling: {over: role:esxi, gap: 30s}}",
    "random": "{random: {until: 2m, kinds: [link.delay, proc.pause]}}",
}
_WORDS: Final = {
    "at": "This time after the start of the fault phase.",
    "after": "At the start or end of another entry, or a time after that.",
    "every": "Repeat with this time from start to start: `times` times, or until the end.",
}
_LIMITS: Final = {Unit.RATIO: '"== 100%"', Unit.SECONDS: '"<= 60s"', Unit.COUNT: '"== 0"'}


def entries(noun: str) -> tuple[DescribedEntry, ...]:
    """All entries of a noun, in the order of its registry; ``KeyError`` for another noun."""
    return tuple(NOUNS[noun]())


def _faults() -> Iterator[DescribedEntry]:
    for kind in FAULTS:
        entry = _of_every(OF_ACTIONS)
        own = _fields(kind.params)
        if kind.at_point:
            own = [field for field in own if field.name != "on"]
            point = EntryField(
                name="point", values="a map: see `explain entry point`", required=True
            )
            ways = ("at", "after", "once", "when", "every", "times", "rolling")
            entry = [point, *(field for field in entry if field.name not in ways)]
        if kind.reversible:
            entry = [f for f in entry if f.name != "cure"]
        told = _text(kind)
        if not kind.reversible:
            told += " It cannot be undone: `guards.blast_radius` must allow it, `cure` repairs it."
        if kind.lasts_s is not None and not kind.at_point:
            told += f" Without `for` it lasts {kind.lasts_s:g} s."
        yield DescribedEntry(
            name=kind.kind, text=told, example=example_of(kind), fields=tuple([*own, *entry])
        )


def _of_every(others: frozenset[str]) -> list[EntryField]:
    """The fields of every entry, without those of ``others``."""
    left_out = {name.rstrip("_") for name in others | _OF_ENTRY}
    return [field for field in _fields(ScheduleEntry) if field.name not in left_out]


def _actions() -> Iterator[DescribedEntry]:
    for action in ACTIONS.values():
        fields = (*_fields(action.params), *_of_every(OF_FAULTS))
        yield DescribedEntry(
            name=action.kind,
            text=_sentence(action.doc),
            example=example_of_action(action),
            fields=fields,
        )


def example_of_action(action: Action) -> str:
    """A line of a schedule with this action."""
    more = f", {action.example}" if action.example else ""
    return f"schedule: [{{at: 30s, do: {action.kind}{more}}}]"


def _entries_of_schedule() -> Iterator[DescribedEntry]:
    """The ways to say when an entry is played, and how often."""
    models: dict[str, type[BaseModel]] = {
        "when": WhenSection,
        "point": Point,
        "once": Once,
        "rolling": Rolling,
        "random": Random,
    }
    for name, example in _WAYS.items():
        model = models.get(name)
        yield DescribedEntry(
            name=name,
            text=_text(model) if model is not None else _WORDS[name],
            example=f"schedule: [{example}]",
            fields=tuple(_fields(model)) if model is not None else (),
        )


def example_of(kind: type[Fault]) -> str:
    """A line of a schedule with this fault."""
    more = f", {kind.example}" if kind.example else ""
    lasts = "" if kind.lasts_s is not None or not kind.reversible else ", for: 5m"
    begin = "point: {node: esxi-001, call: disk.append}" if kind.at_point else "at: 30s"
    return f"schedule: [{{{begin}{lasts}, fault: {kind.kind}{more}}}]"


def _probes() -> Iterator[DescribedEntry]:
    for probe in PROBES.values():
        phase = "before, during or after" if probe.live else "after"
        limit = _LIMITS[probe.unit]
        text = f"{probe.doc}, as {_describe_unit(probe.unit)}; in hypothesis {phase}"
        yield DescribedEntry(
            name=probe.name,
            text=_sentence(text),
            example=f"hypothesis: {{after: [{{probe: {probe.name}, is: {limit}}}]}}",
            fields=tuple(_of_unit(f, limit) for f in _fields(Probed) if _applies(f.name, probe)),
        )


def _of_unit(field: EntryField, limit: str) -> EntryField:
    """The field of a probe, with its limit in the unit of the probe."""
    if field.name != "is":
        return field
    compares = "==, !=, <, <=, > or >= and a limit: "
    return EntryField(name=field.name, values=f"{compares}{limit}", required=True)


def _describe_unit(unit: Unit) -> str:
    match unit:
        case Unit.RATIO:
            return "a ratio from 0 to 1 (0% to 100%)"
        case Unit.SECONDS:
            return "seconds of the lab"
        case Unit.COUNT:
            return "a count"


def _applies(name: str, probe: Probe) -> bool:
    """Whether the field means something for this probe."""
    phases = {field.rstrip("_") for fields in ONLY_IN.values() for field in fields}
    match name:
        case "probe":
            return False
        case "on":
            return probe.about in ("vms", "hosts")
        case "op":
            return probe.about == "op"
        case _:
            return probe.live or name not in phases


def _operations() -> Iterator[DescribedEntry]:
    for operation in OPERATIONS.values():
        yield DescribedEntry(
            name=operation.name,
            text=_sentence(operation.doc),
            example=f"workload: [{{op: {operation.name}, rate: 0.2/s}}]",
            fields=tuple(f for f in _fields(Load) if _takes(f.name, operation)),
        )


def _takes(name: str, operation: WorkloadOperation) -> bool:
    return name != "op" and (name != "on" or operation.about == "vms")


def _checks() -> Iterator[DescribedEntry]:
    for name, check in CHECKS.items():
        when = "It judges every run." if check.always else "A file adds it."
        number = f"{check.invariant}: " if check.invariant else ""
        text = f"{number}{check.statement} {when}"
        yield DescribedEntry(name=name, text=text, example=f"checks: {{add: [{name}]}}")


def _selectors() -> Iterator[DescribedEntry]:
    for form, text in FORMS:
        written = form if form[0] in "[{" else f'"{form}"'
        example = f'hypothesis: {{after: [{{probe: host.up, is: "== 1", on: {written}}}]}}'
        yield DescribedEntry(name=form, text=_sentence(text), example=example)


def _guards() -> Iterator[DescribedEntry]:
    examples = {"blast_radius": "{hosts: 50%, kms: 1, tpm.clear: 1}"}
    for field, info in zip(_fields(Guards), Guards.model_fields.values(), strict=True):
        value = examples.get(field.name, field.default)
        yield DescribedEntry(
            name=field.name,
            text=info.description or "",
            example=f"guards: {{{field.name}: {value}}}",
            fields=(field,),
        )


NOUNS: Final[dict[str, Callable[[], Iterator[DescribedEntry]]]] = {
    "fault": _faults,
    "probe": _probes,
    "op": _operations,
    "check": _checks,
    "action": _actions,
    "entry": _entries_of_schedule,
    "selector": _selectors,
    "guard": _guards,
}
"""The entries by noun."""


# Fields of sections ----------------------------------------------------------------------------


def _fields(model: type[BaseModel]) -> list[EntryField]:
    return [
        EntryField(
            name=info.alias or name,
            values=_values(info),
            default="" if info.is_required() else _as_written(info.default, info),
            required=info.is_required(),
        )
        for name, info in model.model_fields.items()
    ]


def _values(info: FieldInfo) -> str:
    """The values of a field in words."""
    for item in info.metadata:
        if isinstance(item, BeforeValidator) and item.func in _READERS:
            return _READERS[item.func]
    ends = [str(getattr(m, end)) for m in info.metadata for end in ("ge", "le") if hasattr(m, end)]
    return _kind(info.annotation) + (f" from {' to '.join(ends)}" if ends else "")


def _kind(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        for item in inner[1:]:
            if isinstance(item, BeforeValidator):
                return _READERS.get(item.func, _kind(inner[0]))
        return _kind(inner[0])
    if origin in (Union, types.UnionType):
        others = [option for option in inner if option is not type(None)]
        if any(get_origin(option) is dict for option in others):
            return "a selector"
        return " or ".join(dict.fromkeys(_kind(option) for option in others))
    if origin is Literal:
        return " | ".join(map(str, inner))
    if origin is list:
        return f"a list, each {_kind(inner[0])}"
    if origin is dict:
        return "a map"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return " | ".join(member.value for member in kind)
    named = {bool: "true | false", int: "a whole number", float: "a number", str: "a text"}
    return named.get(kind, "a value")


def _as_written(value: Any, info: FieldInfo) -> str:
    """A default as a file has it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case StrEnum():
            return value.value
        case float() if _values(info) == _READERS[seconds]:
            return f"{value:g}s"
        case _:
            return str(value)


def _text(thing: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    first = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return " ".join(first.replace("``", "`").split())


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
