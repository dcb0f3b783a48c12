"""The use of a key that stays in the server: Encrypt and Decrypt (KMIP 1.4 sections 4.29, 4.30),
wrapping another key in an answer to Get (sections 2.1.6, 4.11), and how long and how much a key
may be used (leases, Usage Limits).
"""

from __future__ import annotations

from typing import Final

import msgspec

from protocol.attributes import RAW, CryptographicParametersValue, Stamped, UsageLimitsValue, Value
from protocol.crypto import wrap
from protocol.errors import (
    EncodingOptionError,
    FeatureNotSupported,
    IllegalOperation,
    InvalidField,
    ItemNotFound,
    PermissionDenied,
    ProductError,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.kms.access import authorization
from services.kms.commit.unit_of_work import Refusal, Work
from services.kms.objects import algorithms, attributes, key_row
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import (
    Allocated,
    Checked,
    CheckUsage,
    CoreOperation,
    DecryptData,
    DecryptedData,
    EncryptData,
    EncryptedData,
    GetUsageAllocation,
    KeyWrapping,
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
        lease_time=key_row.LEASE_S,
        last_change_date=row.last_change_date,
    )


def check_usage(work: Work, request: CheckUsage) -> Checked:
    """See ``CheckUsage``."""
    row = work.object(request)
    limits = of(row)
    count, mask, lease = request.usage_limits_count, request.usage_mask, request.lease_time
    left = None if limits is None else limits.left
    more = count is not None and left is not None and count > left
    found = Checked(
        usage_limits_count=left if more else None,
        usage_mask=row.usage_mask if mask is not None and mask & ~row.usage_mask else None,
        lease_time=key_row.LEASE_S if lease is not None and lease > key_row.LEASE_S else None,
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
        if not key_row.protects(row.state, attributes.protect_stop(row), work.at):
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


_DEFAULT: Final = CryptographicParametersValue(block_cipher_mode="GCM")
_ENCRYPT, _DECRYPT = 4, 8  # bits of a usage mask


def encrypt(work: Work, request: EncryptData) -> EncryptedData:
    """See ``EncryptData``; ``drawn`` of the request is the nonce that the server returns."""
    row = work.object(request)
    stop = attributes.single(row, attributes.PROTECT_STOP)
    if not row.usage_mask & _ENCRYPT:
        raise work.refusal(PermissionDenied("the usage mask of the key has no Encrypt"), row)
    if not key_row.protects(row.state, _date(stop), work.at):
        why = (
            f"a key that is {row.state} does not encrypt, or its {attributes.PROTECT_STOP} is past"
        )
        raise work.refusal(PermissionDenied(why), row)
    parameters = _parameters(row, request.parameters)
    try:
        mode = algorithms.mode_of(parameters, row.algorithm)
        drawn = request.drawn[: mode.iv_size] if request.iv is None else b""
        if drawn and not parameters.random_iv:
            raise InvalidField("Encrypt: an IV is given, or Random IV")
        iv = drawn or request.iv or b""
        algorithms.check_iv(mode, iv, parameters)
        data, tag = mode.encrypt(_key(work, row, parameters), request, iv, parameters)
        charge_encrypt(work, row, len(request.data))
    except ValueError as error:
        raise work.refusal(InvalidField(f"Encrypt: {error}"), row) from None
    except ProductError as error:
        raise work.refusal(error, row) from None
    work.note(request.operation, row.key_id, row.scope)
    return EncryptedData(
        unique_identifier=row.key_id,
        data=data,
        iv=drawn or None,
        tag=tag,
    )


def decrypt(work: Work, request: DecryptData) -> DecryptedData:
    """See ``DecryptData``."""
    row = work.object(request)
    start = attributes.single(row, attributes.PROCESS_START)
    if not row.usage_mask & _DECRYPT:
        raise work.refusal(PermissionDenied("the usage mask of the key has no Decrypt"), row)
    if not key_row.processes(row.state, _date(start), work.at):
        why = f"a key that is {row.state} does not decrypt, or not before its date"
        raise work.refusal(PermissionDenied(why), row)
    try:
        parameters = _parameters(row, request.parameters)
        mode = algorithms.mode_of(parameters, row.algorithm)
        algorithms.check_iv(mode, request.iv, parameters)
        data = mode.decrypt(_key(work, row, parameters), request, parameters)
    except ValueError as error:
        raise work.refusal(InvalidField(f"Decrypt: {error}"), row) from None
    except ProductError as error:
        raise work.refusal(error, row) from None
    work.note(request.operation, row.key_id, row.scope)
    return DecryptedData(unique_identifier=row.key_id, data=data)


def _date(value: object) -> float | None:
    return value if isinstance(value, float) else None


def _parameters(
    row: StoredKeyRow, requested: CryptographicParametersValue | None
) -> CryptographicParametersValue:
    if requested is not None:
        return requested
    own = attributes.single(row, attributes.PARAMETERS)
    return own if isinstance(own, CryptographicParametersValue) else _DEFAULT


def _key(work: Work, row: StoredKeyRow, parameters: CryptographicParametersValue) -> KeyMaterial:
    if parameters.cryptographic_algorithm not in (None, row.algorithm):
        raise InvalidField(f"the parameters are not of a key for {row.algorithm}")
    material = work.material(row)
    if material is None:
        raise ItemNotFound(f"the key is {row.state}")
    return material


MODE: Final = "NISTKeyWrap"
_WRAP_KEY: Final = 0x10  # of a usage mask


def wrapping_key_of(
    work: Work, wanted: KeyWrapping, leaving: StoredKeyRow, secret: KeyMaterial
) -> KeyMaterial:
    """The material of the key that wraps ``secret``, the material of ``leaving``. ``Refusal``, also
    when the key cannot be wrapped in the requested form: then nothing leaves."""
    row = work.find(wanted.key_id)
    if row is None or not work.caller.owns(row):
        raise Refusal(authorization.absent(work.caller), work.caller.scope)
    work.judge(CoreOperation.ENCRYPT, row)
    try:
        _check(work, row, wanted.parameters)
        if wanted.alone:
            if (wanted.format or attributes.format_of(leaving)) != RAW:
                raise EncodingOptionError("a structure is no bytes without an encoding")
            wrap.check_size(len(secret))
        charge_encrypt(work, row, len(secret))
        material = work.material(row)
    except ProductError as error:
        raise work.refusal(error, row) from None
    if material is None:
        raise work.refusal(authorization.absent(work.caller), row)
    work.note(CoreOperation.ENCRYPT, row.key_id, row.scope)
    return material


def _check(work: Work, row: StoredKeyRow, requested: CryptographicParametersValue | None) -> None:
    own = attributes.single(row, attributes.PARAMETERS)
    parameters = requested or (own if isinstance(own, CryptographicParametersValue) else None)
    mode = MODE if parameters is None else parameters.block_cipher_mode
    if row.algorithm != "AES" or mode != MODE:
        raise FeatureNotSupported(f"keys are wrapped with AES and {MODE} here")
    if not row.usage_mask & _WRAP_KEY:
        raise PermissionDenied("the usage mask of the wrapping key has no Wrap Key")
    if not key_row.protects(row.state, attributes.protect_stop(row), work.at):
        raise PermissionDenied(f"a key that is {row.state} does not wrap")
