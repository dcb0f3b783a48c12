"""Names of KMIP's numbers as its specification has them (KMIP 1.4 section 9.1.3)."""

from __future__ import annotations

import pytest

from protocol import terms
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import (
    Code,
    LinkType,
    NameType,
    ObjectType,
    Operation,
    ResultReason,
    ResultStatus,
    RevocationReasonCode,
    State,
)
from protocol.kmip.message import ResponseItem
from services.kms.endpoints.kmip.items import REASONS
from services.kms.objects import request_types


@pytest.mark.parametrize(
    ("code", "title"),
    [
        (ResultReason.ITEM_NOT_FOUND, "Item Not Found"),
        (ResultReason.INDEX_OUTOF_BOUNDS, "Index Out of Bounds"),
        (State.PRE_ACTIVE, "Pre-Active"),
        (State.DESTROYED_COMPROMISED, "Destroyed Compromised"),
        (Operation.RE_KEY_KEY_PAIR, "Re-key Key Pair"),
        (Operation.MAC_VERIFY, "MAC Verify"),
        (RevocationReasonCode.CA_COMPROMISE, "CA Compromise"),
        (NameType.URI, "URI"),
        (ObjectType.PGP_KEY, "PGP Key"),
        (LinkType.REPLACEMENT_OBJECT_LINK, "Replacement Object Link"),
    ],
)
def test_a_code_has_the_title_of_the_specification(code: Code, title: str) -> None:
    assert code.title == title


def test_our_own_words_are_these_titles() -> None:
    """Of the core's reasons and operations, and of states."""
    later = terms.ResultReason.WRONG_KEY_LIFECYCLE_STATE
    assert [reason for reason, code in REASONS.items() if code.title != reason.value] == [later]
    known = {code.title for code in Operation}
    assert {
        one.value for one in request_types.CoreOperation if one.name in Operation.__members__
    } <= known
    assert {code.title for code in State} == {state.value for state in terms.KmipState}
    codes = {code.title for code in RevocationReasonCode}
    assert {reason.value for reason in terms.RevocationReason} <= codes


def test_a_refusal_is_told_with_its_reason_as_people_look_it_up() -> None:
    item = ResponseItem(
        result_status=ResultStatus.OPERATION_FAILED,
        result_reason=ResultReason.ITEM_NOT_FOUND,
        result_message="no such key",
    )
    assert str(OperationFailed(item)) == "Item Not Found: no such key"
