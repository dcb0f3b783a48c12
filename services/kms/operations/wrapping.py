"""The key that wraps another one in an answer to Get (KMIP 1.4 sections 2.1.6, 4.11).

It is a key of the caller's scope that may wrap and protects now. The trail records its use as
Encrypt; it counts for its Usage Limits, and rejections of Encrypt apply. A caller that may not get
a key does not get it wrapped either.
"""

from __future__ import annotations

from typing import Final

from protocol.attributes import RAW, CryptographicParametersValue
from protocol.crypto import keywrap
from protocol.errors import EncodingOptionError, FeatureNotSupported, PermissionDenied, ProductError
from protocol.secret import KeyMaterial
from services.kms.access import authorization
from services.kms.commit.unit_of_work import Refusal, Work
from services.kms.objects import attributes, states
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation, KeyWrapping
from services.kms.operations import usage

MODE: Final = "NISTKeyWrap"
_WRAP_KEY: Final = 0x10  # of a usage mask


def key_of(
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
            keywrap.check_size(len(secret))
        usage.charge_encrypt(work, row, len(secret))
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
    if not states.protects(row.state, attributes.protect_stop(row), work.at):
        raise PermissionDenied(f"a key that is {row.state} does not wrap")
