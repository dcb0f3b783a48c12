"""Refusals of the product and of the harness, as errors for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chaos.errors import ChaosError
from lab.schema.errors import OF_MANY_CAUSES, KeysteadError
from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    HostUnreachable,
    InvalidName,
    InvalidVmState,
    KeyProviderUnreachable,
    NoPermission,
    NotFound,
    ProductError,
    SaveFailed,
)

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


_BY_KIND: Final[Mapping[type[ProductError], str]] = {
    NoPermission: "`keystead get roles` says what each role lacks; `keystead user set` gives one",
    KeyProviderUnreachable: "`keystead get kms` and `keystead get faults` show which key server is "
    "down or cut off; `keystead heal --all` ends faults",
    HostUnreachable: "`keystead get hosts` shows its state, `keystead get faults` what parts it "
    "from vCenter",
    EncryptionKeyRequired: "`keystead describe vm VM` says which key is missing and what brings it",
    InvalidVmState: "`keystead describe vm VM` says which key is missing and what brings it",
    SaveFailed: "`keystead get faults` shows whether its disk is full or read-only",
    DatastoreFault: "`keystead get faults` shows whether its datastore is gone",
}
"""What helps against a refusal of this kind, whatever was asked for; against others nothing does
always."""


def row_of_refusal(failure: KeysteadError) -> dict[str, Any]:
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
        id = _WRONG_WORDS.get(error.id, error.id)
        return KeysteadError(id, error.text, "" if id in OF_MANY_CAUSES else error.fix)
    if isinstance(error, NotFound):
        return KeysteadError("KS-USE-002", str(error))
    if isinstance(error, InvalidName):
        return KeysteadError("KS-USE-003", str(error))
    keys = f" (keys: {', '.join(map(str, error.keys))})" if error.keys else ""
    words = str(error) or type(error).__name__
    text = f"{error.fault}: {words}" if error.fault else words
    fix = fix or _BY_KIND.get(type(error), "")
    concerned = tuple(map(str, error.keys))
    return KeysteadError("KS-PRODUCT-001", f"{text}{keys}", fix, error.fault, concerned)
