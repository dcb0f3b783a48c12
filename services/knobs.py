"""All knobs in one table: a lab file is checked against it, and ``keystead explain`` shows it.

A lab file's ``knobs`` is one flat map; each node reads the knobs of its own service. This module
imports no service, so that commands which only read a lab file stay fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import msgspec

from protocol.errors import InvalidArgument
from protocol.printable import did_you_mean
from protocol.terms import Role
from services.attestation.knobs import AttestationKnobs
from services.esxi.knobs import EsxiKnobs
from services.keyprovider.knobs import KeyProviderKnobs
from services.kms.settings.knobs import KmsKnobs
from services.runtime.knobs import KnobInfo, Knobs, describe_knobs, find_knob_fault, read_knobs
from services.vcenter.knobs import VcenterKnobs

KNOBS: Final[dict[Role, type[Knobs]]] = {
    Role.VCENTER: VcenterKnobs,
    Role.KMS: KmsKnobs,
    Role.ESXI: EsxiKnobs,
    Role.ATTESTATION: AttestationKnobs,
    Role.KEYPROVIDER: KeyProviderKnobs,
}
"""The knobs of each role. Add a service: its struct here, its folder in ``services.catalog``."""


class KnobRow(KnobInfo, frozen=True, kw_only=True):
    """One knob of the table: ``KnobInfo``, and ``read_by``, the roles it is for."""

    read_by: tuple[Role, ...]


@cache
def table() -> Mapping[str, KnobRow]:
    """Every knob by name, sorted; computed once."""
    readers: dict[str, list[Role]] = {}
    for role, kind in KNOBS.items():
        for name in kind.__struct_fields__:
            readers.setdefault(name, []).append(role)
    rows: dict[str, KnobRow] = {}
    for name in sorted(readers):
        known = describe_knobs(KNOBS[readers[name][0]])[name]
        rows[name] = KnobRow(**msgspec.structs.asdict(known), read_by=tuple(readers[name]))
    return MappingProxyType(rows)


def faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Errors in a lab's knobs, by name; empty when all are known and in range."""
    found: dict[str, str] = {}
    for name, value in values.items():
        kinds = [kind for kind in KNOBS.values() if name in kind.__struct_fields__]
        if not kinds:
            found[name] = "there is no such knob" + near(name)
        elif wrong := find_knob_fault(kinds[0], name, value):
            found[name] = wrong
    return found


def knobs_of(role: Role, values: Mapping[str, Any]) -> Knobs:
    """The knobs of one node from those of a lab; ``InvalidArgument`` names an invalid one."""
    for name, wrong in faults(values).items():
        raise InvalidArgument(f"knob {name}: {wrong}")
    return read_knobs(KNOBS[role], values)


def near(name: str) -> str:
    """``; did you mean ...?`` with the knobs whose names are close to ``name``, or nothing."""
    return did_you_mean(name.lower(), table(), most=3)
