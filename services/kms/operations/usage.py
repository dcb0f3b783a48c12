"""How long and how much a key may be used: leases, and the attribute Usage Limits.

1. Allocations are counted for each server that made them, so two servers that were disconnected
   know the sum when they are connected again (``join_limits``). It may then exceed the total,
   which is reported as nothing left.
2. A client sets the total and the unit, until something is allocated (KMIP 1.4 section 3.21).
3. Encrypt uses what it encrypts, in bytes or as one object; it is refused beyond the limits.
4. Nothing is allocated of a key that does not protect now (KMIP 1.4 section 4.18).
5. A key is leased in the states in which it may be used now or later (KMIP 1.4 section 4.17).
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.attributes import Stamped, UsageLimitsValue, Value
from protocol.errors import IllegalOperation, InvalidField, PermissionDenied, ProductError
from protocol.terms import KeyId, KmipState
from services.kms.commit.unit_of_work import Work
from services.kms.objects import attributes, implied, states
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import (
    Allocated,
    Checked,
    CheckUsage,
    CoreOperation,
    GetUsageAllocation,
    Lent,
    ObtainLease,
)

_PROCESSING: Final = 2 | 8 | 0x20 | 0x40 | 0x100 | 0x8000
"""Bits of a usage mask: Verify, Decrypt, Unwrap Key, Export, MAC Verify, Validate Cryptogram."""

_LENT: Final = (KmipState.PRE_ACTIVE, KmipState.ACTIVE, KmipState.DEACTIVATED)


def lend(work: Work, request: ObtainLease) -> Lent:
    """See ``ObtainLease``."""
    row = work.object(request)
    if row.state not in _LENT:
        raise work.refusal(PermissionDenied(f"a key that is {row.state} is not lent"), row)
    return Lent(
        unique_identifier=row.key_id,
        lease_time=implied.LEASE_S,
        last_change_date=row.last_change_date,
    )


def check(work: Work, request: CheckUsage) -> Checked:
    """See ``CheckUsage``."""
    row = work.object(request)
    limits = of(row)
    count, mask, lease = request.usage_limits_count, request.usage_mask, request.lease_time
    left = None if limits is None else limits.left
    more = count is not None and left is not None and count > left
    found = Checked(
        usage_limits_count=left if more else None,
        usage_mask=row.usage_mask if mask is not None and mask & ~row.usage_mask else None,
        lease_time=implied.LEASE_S if lease is not None and lease > implied.LEASE_S else None,
    )
    if found != Checked():
        work.placeholder, work.repeated = KeyId(""), False
        return found
    return Checked(unique_identifier=row.key_id)


def allocate(work: Work, request: GetUsageAllocation) -> Allocated:
    """See ``GetUsageAllocation``."""
    row = work.object(request)
    try:
        if request.count <= 0:
            raise InvalidField("Usage Limits Count: 1 or more")
        if of(row) is None:
            raise IllegalOperation("the key has no Usage Limits")
        if not row.usage_mask & ~_PROCESSING:
            raise IllegalOperation("the usage mask of the key has nothing that protects")
        if not states.protects(row.state, attributes.protect_stop(row), work.at):
            past = " and past its Protect Stop Date" if row.state is KmipState.ACTIVE else ""
            text = f"nothing is allocated of a key that is {row.state}{past}"
            raise IllegalOperation(text)
        changed = charge(row, request.count, work)
    except ProductError as error:
        raise work.refusal(error, row) from None
    work.update(changed, request.operation)
    return Allocated(unique_identifier=row.key_id)


def charge_encrypt(work: Work, row: StoredKeyRow, size: int) -> None:
    """Count the use by Encrypt of a key with limits; ``PermissionDenied`` (rule 3)."""
    limits = of(row)
    if limits is not None:
        amount = size if limits.unit == "Byte" else 1
        work.update(charge(row, amount, work), CoreOperation.GET_USAGE_ALLOCATION)


def of(row: StoredKeyRow) -> UsageLimitsValue | None:
    """The limits of the key, if it has any."""
    if _NAME not in row.attributes:  # cheaper than decoding all attributes
        return None
    found = attributes.single(row, attributes.LIMITS)
    return found if isinstance(found, UsageLimitsValue) else None


_NAME: Final = attributes.LIMITS.encode()


def charge(row: StoredKeyRow, amount: int, work: Work) -> StoredKeyRow:
    """The row of a key with limits after the use of ``amount``; ``PermissionDenied``."""
    limits = of(row)
    if limits is None or amount > limits.left:
        raise PermissionDenied("that is more than is left of the key's Usage Limits")
    spent = dict(limits.spent)
    spent[work.server] = spent.get(work.server, 0) + amount
    value = msgspec.structs.replace(limits, spent=tuple(sorted(spent.items())))
    return attributes.stamp(row, attributes.LIMITS, ((0, value),), work.at, work.server)


def join_limits(one: Stamped, other: Stamped) -> Stamped:
    """The value written last, with all allocations of both (rule 1)."""
    if not one.instances or not other.instances:
        return one
    [(_, mine)], [(_, theirs)] = one.instances, other.instances
    if not isinstance(mine, UsageLimitsValue) or not isinstance(theirs, UsageLimitsValue):
        return one
    spent = dict(mine.spent)
    for server, amount in theirs.spent:
        spent[server] = max(amount, spent.get(server, 0))
    value: Value = msgspec.structs.replace(mine, spent=tuple(sorted(spent.items())))
    return msgspec.structs.replace(one, instances=((0, value),))
