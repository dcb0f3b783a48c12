"""Who may send what to an Attestation Service. Pure: one table.

| | console | its vCenter | any other node |
|---|---|---|---|
| attest | allowed | allowed | allowed: the findings judge |
| configure | allowed | allowed | refused |
| question | allowed | allowed | refused |
"""

from __future__ import annotations

from typing import Any, Final

from protocol.errors import NoPermission
from protocol.messages.attestation import BeginAttestation, FinishAttestation
from protocol.messages.base import Request
from protocol.terms import NodeName

_FOR_ALL: Final = (BeginAttestation, FinishAttestation)


def admit(message: Request[Any], sender: NodeName, vcenter: NodeName, *, local: bool) -> None:
    """``NoPermission`` when the table refuses the message."""
    if local or isinstance(message, _FOR_ALL) or (vcenter and sender == vcenter):
        return
    raise NoPermission(f"{sender} is not the vCenter of this Attestation Service")
