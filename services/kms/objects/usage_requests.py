"""Requests about how long and how much a key may be used, and about the one that follows it; see
``operations``."""

from __future__ import annotations

from typing import ClassVar

from protocol.attributes import Attribute
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.objects.request_types import CoreOperation, ObjectRequest, Response


class Lent(Response, frozen=True, kw_only=True):
    """For how many seconds the key is lent from now on, and when it last changed."""

    unique_identifier: KeyId
    lease_time: int
    last_change_date: float


class ObtainLease(ObjectRequest[Lent], frozen=True, kw_only=True):
    """Have the key lent again (KMIP 1.4 section 4.17)."""

    operation: ClassVar[CoreOperation] = CoreOperation.OBTAIN_LEASE


class Checked(Response, frozen=True, kw_only=True):
    """Which key may be used like that; of one that may not, what may not be, with what may be in
    its place."""

    unique_identifier: KeyId | None = None
    usage_limits_count: int | None = None
    usage_mask: int | None = None
    lease_time: int | None = None


class CheckUsage(ObjectRequest[Checked], frozen=True, kw_only=True):
    """Whether the key may be used like that (KMIP 1.4 section 4.10); None is not asked. When it may
    not, what follows in the batch has no ID Placeholder, so a Get does not give it."""

    operation: ClassVar[CoreOperation] = CoreOperation.CHECK
    usage_limits_count: int | None = None
    usage_mask: int | None = None
    lease_time: int | None = None


class Allocated(Response, frozen=True, kw_only=True):
    """So much of the key's Usage Limits is the caller's now."""

    unique_identifier: KeyId


class GetUsageAllocation(ObjectRequest[Allocated], frozen=True, kw_only=True):
    """Take ``count`` of the key's Usage Limits, in their unit (KMIP 1.4 section 4.18)."""

    operation: ClassVar[CoreOperation] = CoreOperation.GET_USAGE_ALLOCATION
    count: int


class ReplacedKey(Response, frozen=True, kw_only=True):
    """The new key."""

    unique_identifier: KeyId


class ReKey(ObjectRequest[ReplacedKey], frozen=True, kw_only=True):
    """Make the key that follows this one (KMIP 1.4 section 4.4; see ``rekeying``).

    ``offset``: seconds from now to its Activation Date; None: its dates are those of the old one.
    ``attributes`` of the new one that are not as those of the old one. ``new_id`` and ``drawn``
    are the core's: its id, and bytes to make it of.
    """

    operation: ClassVar[CoreOperation] = CoreOperation.RE_KEY
    offset: int | None = None
    attributes: tuple[Attribute, ...] = ()
    new_id: KeyId = KeyId("")
    drawn: KeyMaterial | None = None
