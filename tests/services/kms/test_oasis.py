"""The symmetric key life cycle cases of OASIS (SKLC), played against the core's states.

They are read from the folder that KEYSTEAD_VECTORS names (any depth), and are not part of this
tree. Without it the whole module is one skip. Reasons of refusal are KMIP 1.x's and belong to a
TTLV door; here it counts that the same steps are refused, and that the states are the same.
"""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from protocol.errors import ProductError
from protocol.messages.base import Reply, Request
from protocol.messages.kms.keys import Activate, CreateKey, Destroy, GetAttributes, Revoke
from protocol.terms import KeyId, KmipState, RevocationReason
from tests.services.kms.ports import LOCAL, Server

FOLDER = os.environ.get("KEYSTEAD_VECTORS", "")
CASES = sorted(Path(FOLDER).rglob("SKLC*.xml")) if FOLDER else []
NOT_BUILT = ("ModifyAttribute",)
STATES = {state.value.replace("-", "").replace(" ", ""): state for state in KmipState}
REASONS = {reason.value.replace(" ", ""): reason for reason in RevocationReason}

if not CASES:
    pytest.skip(
        "0 OASIS life cycle cases: KEYSTEAD_VECTORS names no folder with SKLC*.xml",
        allow_module_level=True,
    )


@dataclass(frozen=True)
class CaseStep:
    operation: str
    reason: RevocationReason
    refused: bool
    state: KmipState | None
    template: tuple[str, ...]


def text(item: ElementTree.Element, path: str, default: str = "") -> str:
    found = item.find(path)
    return default if found is None else found.get("value", default)


def attribute(item: ElementTree.Element, name: str) -> str:
    for found in item.iter("Attribute"):
        if text(found, "AttributeName") == name:
            return text(found, "AttributeValue")
    return ""


def steps(case: Path) -> Iterator[CaseStep]:
    root = ElementTree.parse(case).getroot()  # noqa: S314 - a file the person who runs this chose
    asked = [item for message in root.iter("RequestMessage") for item in message.iter("BatchItem")]
    told = [item for message in root.iter("ResponseMessage") for item in message.iter("BatchItem")]
    assert len(asked) == len(told) > 0
    for request, response in zip(asked, told, strict=True):
        state = attribute(response, "State")
        yield CaseStep(
            operation=text(request, "Operation"),
            reason=REASONS[text(request, ".//RevocationReasonCode", "Unspecified")],
            refused=text(response, "ResultStatus") != "Success",
            state=STATES[state] if state else None,
            template=tuple(
                attribute(request, f"Cryptographic {name}") for name in ("Algorithm", "Length")
            ),
        )


def request(step: CaseStep, key_id: KeyId) -> Request[Reply]:
    match step.operation:
        case "Create":
            algorithm, length = step.template
            return CreateKey(operation_id="case", algorithm=algorithm, length=int(length))
        case "GetAttributes":
            return GetAttributes(key_ids=(key_id,))
        case "Activate":
            return Activate(key_id=key_id)
        case "Revoke":
            return Revoke(key_id=key_id, reason=step.reason)
        case "Destroy":
            return Destroy(key_id=key_id)
    raise AssertionError(f"the case asks {step.operation}")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
async def test_case(server: Server, case: Path) -> None:
    key_id, judged = KeyId(""), 0
    for step in steps(case):
        if step.operation in NOT_BUILT:
            continue
        message = request(step, key_id)
        if step.refused:
            with pytest.raises(ProductError):
                await server.ask(message, LOCAL)
            judged += 1
            continue
        await server.ask(message, LOCAL)
        if isinstance(message, CreateKey):
            key_id = (await server.ask(message, LOCAL)).key_id
        if step.state is not None:
            listed = await server.ask(GetAttributes(key_ids=(key_id,)), LOCAL)
            assert listed.keys[0].state is step.state
            judged += 1
    assert judged, "the case must say something about a state"
