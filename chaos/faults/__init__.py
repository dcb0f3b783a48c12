"""Every fault there is: one file and one line each.

``base`` what a fault is · ``links`` ``brokers`` ``connections`` ``power`` ``firmware`` ``tpms``
``points`` what several share · the rest: one fault per file, named for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Targets
from chaos.faults.brokers import BrokerDown, BrokerRestart, BrokerRouteCut
from chaos.faults.connections import LinkResetFault, LinkStallFault
from chaos.faults.firmware import HostBootMeasure, HostExecOption, HostTpmDisabled
from chaos.faults.host_hostile import HostHostile
from chaos.faults.key_servers import KmsFailover, KmsReject, KmsRollback, KmsSlow
from chaos.faults.keys import KmsKeyState, ProviderDeleteFault
from chaos.faults.kms_certificate import KmsCertificate
from chaos.faults.links import LinkCutFault, LinkDelayFault, LinkDupFault, LinkLossFault
from chaos.faults.nodes import (
    ClockSkew,
    HostPowerLossFault,
    HostRebootFault,
    ProcKill,
    ProcPause,
    SitePowerLoss,
    VcenterDown,
)
from chaos.faults.points import PointCrash, PointFail
from chaos.faults.tpms import TpmClearFault, TpmDead, TpmSwapFault
from chaos.lab import Directory

FAULTS: tuple[type[Fault], ...] = (
    LinkCutFault,
    LinkDelayFault,
    LinkLossFault,
    LinkDupFault,
    LinkResetFault,
    LinkStallFault,
    ProcKill,
    ProcPause,
    HostRebootFault,
    HostPowerLossFault,
    SitePowerLoss,
    TpmClearFault,
    TpmSwapFault,
    TpmDead,
    HostBootMeasure,
    HostTpmDisabled,
    HostExecOption,
    HostHostile,
    BrokerRestart,
    BrokerDown,
    BrokerRouteCut,
    ClockSkew,
    VcenterDown,
    KmsKeyState,
    KmsFailover,
    KmsRollback,
    ProviderDeleteFault,
    KmsCertificate,
    KmsReject,
    KmsSlow,
    PointCrash,
    PointFail,
)
_BY_KIND = {fault.kind: fault for fault in FAULTS}
EFFECTS: Final = {fault.kind: fault.effect for fault in FAULTS}
"""What each kind does, for the oracle."""

OTHER_NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "kms.node_down": ("proc.kill", "on: kms-1"),
    "kms.hang": ("proc.pause", "on: kms-1"),
    "kms.lag": ("link.delay", "between: [kms-1, kms-2], base: 2s"),
    "kms.split": ("link.cut", "between: [kms-1, kms-2]"),
    "kms.partition": ("link.cut", "between: [kms-1, kms-2]"),
    "kms.hsm": ("kms.reject", "on: kms-1"),
    "cert.expire": ("kms.certificate", "of: client, becomes: expired"),
    "cert.replace": ("kms.certificate", "of: server, becomes: replaced"),
    "cert.revoke": ("kms.certificate", "of: client, becomes: revoked"),
}
"""What people may call a fault that another one plays, with fields as a file has them."""


def fault_type(kind: str) -> type[Fault]:
    """The fault called ``kind``; KS-CHAOS-014 with suggestions when there is none."""
    found = _BY_KIND.get(kind)
    if found is None:
        near = difflib.get_close_matches(kind, _BY_KIND, n=3, cutoff=0.4)
        names = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(_BY_KIND)}"
        if kind in OTHER_NAMES:
            other, fields = OTHER_NAMES[kind]
            names = f"it is played by {other} ({fields}): `keystead explain fault {other}`"
        raise ChaosError("KS-CHAOS-014", f"no fault {kind!r}; {names}")
    return found


def make_fault(
    kind: str, id: str, values: Mapping[str, Any], directory: Directory, seed: int = 0
) -> Fault:
    """A fault from values as a file or command gives them (``{"on": "esxi-001"}``).

    Raises ``ChaosError``: 004 for values, 010 and 011 for selectors, 021 for one that happens
    at a point, 106 if it cannot act.
    """
    cls = fault_type(kind)
    if cls.at_point:
        text = f"{kind} happens within a call: it stands in an experiment, with a `point`"
        raise ChaosError("KS-CHAOS-021", text)
    try:
        params = cls.params.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([kind, *(str(name) for name in first["loc"])])
        text = first["msg"].removeprefix("Value error, ")
        raise ChaosError("KS-CHAOS-004", f"{where}: {text}") from None
    return cls.of(id, params, Targets(directory, Draws(seed, f"fault/{id}")))


def to_plain(fault: Fault) -> dict[str, Any]:
    """A fault as plain values, for the lab's state and the plan."""
    return {"kind": fault.kind, **msgspec.to_builtins(fault)}


def from_plain(values: Mapping[str, Any]) -> Fault:
    """The fault that ``to_plain`` wrote; KS-CHAOS-109 when it is none."""
    rest = {key: value for key, value in values.items() if key != "kind"}
    try:
        return msgspec.convert(rest, fault_type(str(values.get("kind"))))
    except (msgspec.ValidationError, ChaosError) as error:
        raise ChaosError("KS-CHAOS-109", str(error)) from None
