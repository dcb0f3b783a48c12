"""Refusals of the product and of the harness, as errors for people."""

from __future__ import annotations

from typing import Any

from chaos.errors import ChaosError
from lab.schema.errors import KeysteadError
from protocol.errors import InvalidName, NoPermission, NotFound, ProductError

# A command with a wrong word in it is a wrong command, as all others are.
_WRONG_WORDS = {
    "KS-CHAOS-004": "KS-USE-003",
    "KS-CHAOS-005": "KS-USE-003",
    "KS-CHAOS-010": "KS-USE-002",
    "KS-CHAOS-011": "KS-USE-003",
    "KS-CHAOS-014": "KS-USE-002",
    "KS-CHAOS-104": "KS-USE-002",
    "KS-CHAOS-105": "KS-USE-003",
}


def refused_row(failure: KeysteadError) -> dict[str, Any]:
    """What a row of an answer says of a refusal."""
    return {
        "error_id": failure.id,
        "error": str(failure),
        "fault": failure.fault,
        "keys": failure.keys,
    }


def refusal(error: ProductError | ChaosError, fix: str = "") -> KeysteadError:
    """The product's (or the harness's) no, in its own words; ``fix`` says what helps here."""
    if isinstance(error, ChaosError):
        return KeysteadError(_WRONG_WORDS.get(error.id, error.id), error.text, error.fix)
    if isinstance(error, NotFound):
        return KeysteadError("KS-USE-002", str(error))
    if isinstance(error, InvalidName):
        return KeysteadError("KS-USE-003", str(error))
    keys = f" (keys: {', '.join(map(str, error.keys))})" if error.keys else ""
    words = str(error) or type(error).__name__
    text = f"{error.fault}: {words}" if error.fault else words
    if isinstance(error, NoPermission):
        fix = fix or "`keystead get roles` says what each role lacks; `keystead user set` gives one"
    concerned = tuple(map(str, error.keys))
    return KeysteadError("KS-PRODUCT-001", f"{text}{keys}", fix, error.fault, concerned)
