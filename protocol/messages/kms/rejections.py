"""What a key server refuses its clients because its administrator says so, said at its console."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import KeyId, ResultReason

REJECTABLE: Final = (
    "Discover Versions",
    "Query",
    "Create",
    "Register",
    "Get",
    "Get Attributes",
    "Get Attribute List",
    "Add Attribute",
    "Modify Attribute",
    "Delete Attribute",
    "Activate",
    "Revoke",
    "Destroy",
    "Locate",
    "Encrypt",
    "Decrypt",
    "Re-key",
    "Check",
    "Obtain Lease",
    "Get Usage Allocation",
)
"""Operations that a server can be told to reject: all that it serves clients."""

OF_MATERIAL: Final = ("Create", "Register", "Re-key", "Get", "Encrypt", "Decrypt")
"""Those of them that need the material of a key, and so whatever wraps it."""

REJECTION_REASONS: Final = (
    ResultReason.GENERAL_FAILURE,
    ResultReason.AUTHENTICATION_NOT_SUCCESSFUL,
    ResultReason.PERMISSION_DENIED,
    ResultReason.ITEM_NOT_FOUND,
    ResultReason.CRYPTOGRAPHIC_FAILURE,
    ResultReason.OPERATION_NOT_SUPPORTED,
)
"""Reasons that it can be told to reject with."""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """One rejection, by its ``name``.

    Of ``operations`` (KMIP's names), of ``keys`` when there are some, that share of what is asked
    (``probability``, 1: all) is answered with ``reason``, a Result Reason by KMIP's name.
    ``times``: how many items it has struck in this life of the server.
    """

    name: str
    reason: str
    operations: tuple[str, ...]
    keys: tuple[KeyId, ...] = ()
    probability: float = 1.0
    times: int = 0


class RejectRequests(Request["Rejections"], frozen=True, kw_only=True):
    """Reject from now on, over starts of the server, until it is ended; fields as in ``Rejected``.

    One of the same name takes the place of the earlier one. The console and the servers that
    replicate with this one are not judged. ``InvalidArgument``: no such reason or operation, no
    probability, too many.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    name: str
    reason: str
    operations: tuple[str, ...]
    keys: tuple[KeyId, ...] = ()
    probability: float = 1.0


class EndRejection(Request["Rejections"], frozen=True, kw_only=True):
    """Reject it no more; no change when there is none of that name."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    name: str


class QueryRejections(Request["Rejections"], frozen=True, kw_only=True):
    """What is rejected."""


class Rejections(Reply, frozen=True, kw_only=True):
    """In order of their names."""

    items: tuple[Rejected, ...] = ()
