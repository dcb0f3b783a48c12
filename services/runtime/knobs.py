"""Knobs: behaviour that the product's documents leave open, and times that they do not publish.

A knob is a field of its service's struct (``services/<role>/knobs.py``), annotated with its
description::

    auto_unlock: Annotated[
        bool,
        knob("Reconciliation unlocks by itself.", rule="C16", instead="false: nothing unlocks."),
    ] = True

``SharedKnobs`` holds those that several services read. ``services.knobs`` joins all into the one
table that a Lab file is checked against. Durations are in lab seconds and their names end in
``_s``; ``pace`` divides them where time is real.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from protocol.errors import InvalidArgument

K = TypeVar("K", bound="Knobs")

SECONDS: Final = "s"
LONGEST_S: Final = 864_000.0
"""Upper end of most periods, in lab seconds: ten days."""


def knob(
    text: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    count: tuple[int, int] | None = None,
    rule: str = "",
    instead: str = "",
) -> msgspec.Meta:
    """The description of a knob, as metadata of its field.

    ``text``: one sentence that says what it decides. ``unit`` of the value, ``SECONDS`` for a
    duration. ``least`` and ``most``: the range of a number, inclusive. ``count``: the least and
    most entries of a list. ``rule``: the id of its rule. ``instead``: what values other than the
    default change; the knob of an open question (C1, ...) has one.
    """
    extra = {"unit": unit, "rule": rule, "instead": instead}
    if count is not None:
        low, high = count
        return msgspec.Meta(description=text, min_length=low, max_length=high, extra=extra)
    return msgspec.Meta(description=text, ge=least, le=most, extra=extra)


class Knobs(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every service's knobs; read once per node, at the edge of the lab."""


class CertificateKnobs(Knobs, frozen=True, kw_only=True):
    """Knobs of every node with a certificate for KMIP."""

    kmip_certificate_days: Annotated[
        int,
        knob(
            "A certificate for KMIP that its owner signs itself is good for so long: that of a key "
            "server, of vCenter for a provider, of a host of vSAN, of a Key Provider Service.",
            unit="days",
            least=1,
            most=3650,
            rule="STD-04",
        ),
    ] = 3650


class SharedKnobs(CertificateKnobs, frozen=True, kw_only=True):
    """Knobs that both vCenter and its hosts read."""

    heartbeat_s: Annotated[
        float,
        knob(
            "vCenter asks each host that often; after three misses it is notResponding.",
            unit=SECONDS,
            least=0.1,
            most=3600,
        ),
    ] = 10.0
    request_timeout_s: Annotated[
        float,
        knob(
            "A call from one service to another gives up after it.",
            unit=SECONDS,
            least=0.1,
            most=3600,
        ),
    ] = 10.0
    trust_timeout_s: Annotated[
        float,
        knob(
            "A trusted host gives up on one Attestation or Key Provider Service after it, and asks "
            "the next.",
            unit=SECONDS,
            least=0.1,
            most=3600,
            rule="KPS-06",
        ),
    ] = 4.0
    max_key_providers: Annotated[
        int,
        knob(
            "Most key providers that a vCenter, and so a host, may have.",
            least=1,
            most=1000,
            rule="NKP-02",
        ),
    ] = 32


class KnobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One knob, as it is shown to people.

    ``values`` is its range in words, with the unit. ``rule`` is empty when the knob is the lab's
    own and concerns no question of the product. ``instead``: what other values than the default
    change.
    """

    name: str
    text: str
    default: Any
    unit: str
    values: str
    rule: str
    instead: str


def describe_knobs(kind: type[Knobs]) -> dict[str, KnobInfo]:
    """Every knob of ``kind`` by name, in the order of the struct."""
    made: dict[str, KnobInfo] = {}
    for field in msgspec.structs.fields(kind):
        value, meta = _annotations(kind)[field.name]
        extra = meta.extra or {}
        made[field.name] = KnobInfo(
            name=field.name,
            text=meta.description or "",
            default=field.default,
            unit=extra["unit"],
            values=describe_values(value, meta),
            rule=extra["rule"],
            instead=extra["instead"],
        )
    return made


def find_knob_fault(kind: type[Knobs], name: str, value: object) -> str:
    """What is wrong with ``value`` for the knob ``name`` of ``kind``; empty when it is valid."""
    try:
        _convert_value(kind, name, value)
    except (msgspec.ValidationError, ValueError):
        return f"{value!r} is not {describe_values(*_annotations(kind)[name])}"
    return ""


def read_knobs(kind: type[K], values: Mapping[str, Any]) -> K:
    """The knobs of ``kind`` from a lab's flat map, which also has those of other services.

    ``InvalidArgument`` names the knob, its value and its range.
    """
    made: dict[str, Any] = {}
    for name in kind.__struct_fields__:
        if name not in values:
            continue
        wrong = find_knob_fault(kind, name, values[name])
        if wrong:
            raise InvalidArgument(f"knob {name}: {wrong}")
        made[name] = _convert_value(kind, name, values[name])
    return kind(**made)


@cache
def _annotations(kind: type[Knobs]) -> dict[str, tuple[Any, msgspec.Meta]]:
    """Type and metadata of each knob; ``TypeError`` for one without a description."""
    made: dict[str, tuple[Any, msgspec.Meta]] = {}
    for name, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is ClassVar:
            continue
        if get_origin(hint) is not Annotated or not isinstance(hint.__metadata__[0], msgspec.Meta):
            raise TypeError(f"{kind.__name__}.{name}: annotate it with knob(...)")
        made[name] = (hint.__origin__, hint.__metadata__[0])
    return made


def _convert_value(kind: type[Knobs], name: str, value: object) -> Any:
    value_type, meta = _annotations(kind)[name]
    if isinstance(value, bool) and value_type is not bool:
        raise ValueError("a truth value is not a number")
    made = msgspec.convert(value, Annotated[value_type, meta], strict=False)
    if isinstance(made, float) and not math.isfinite(made):
        raise ValueError("a time must be finite")
    return made


def describe_values(value: Any, meta: msgspec.Meta) -> str:
    """The values a knob may have, in words."""
    if value is bool:
        return "true or false"
    if get_origin(value) is Literal:
        return " or ".join(str(v) for v in get_args(value))
    if get_origin(value) is tuple:
        entry, entry_meta = get_args(get_args(value)[0])
        each = describe_values(entry, entry_meta)
        return f"a list of {meta.min_length} to {meta.max_length}, each {each}"
    unit = (meta.extra or {}).get("unit", "")
    whole = "a whole number, " if value is int else ""
    ends = f"{meta.ge:g}" if meta.ge == meta.le else f"{meta.ge:g} to {meta.le:g}"
    return f"{whole}{ends} {unit}".rstrip()
