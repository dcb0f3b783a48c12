"""Encrypt and Decrypt under a key that stays in the server (KMIP 1.4 sections 4.29, 4.30).

The parameters are those of the request; without any, the first Cryptographic Parameters of the key;
without these, GCM with a tag of 16 bytes. Another mode is Feature Not Supported.
"""

from __future__ import annotations

from typing import Final

from protocol.attributes import CryptographicParametersValue
from protocol.errors import (
    InvalidField,
    ItemNotFound,
    PermissionDenied,
    ProductError,
)
from protocol.secret import KeyMaterial
from services.kms.commit.unit_of_work import Work
from services.kms.objects import attributes, cipher_modes, states
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import (
    DecryptData,
    DecryptedData,
    EncryptData,
    EncryptedData,
)
from services.kms.operations import usage

_DEFAULT: Final = CryptographicParametersValue(block_cipher_mode="GCM")
_ENCRYPT, _DECRYPT = 4, 8  # bits of a usage mask


def encrypt(work: Work, request: EncryptData) -> EncryptedData:
    """See ``EncryptData``; ``drawn`` of the request is the nonce that the server returns."""
    row = work.object(request)
    stop = attributes.single(row, attributes.PROTECT_STOP)
    if not row.usage_mask & _ENCRYPT:
        raise work.refusal(PermissionDenied("the usage mask of the key has no Encrypt"), row)
    if not states.protects(row.state, _date(stop), work.at):
        why = (
            f"a key that is {row.state} does not encrypt, or its {attributes.PROTECT_STOP} is past"
        )
        raise work.refusal(PermissionDenied(why), row)
    parameters = _parameters(row, request.parameters)
    try:
        mode = cipher_modes.mode_of(parameters, row.algorithm)
        drawn = request.drawn[: mode.iv_size] if request.iv is None else b""
        if drawn and not parameters.random_iv:
            raise InvalidField("Encrypt: an IV is given, or Random IV")
        iv = drawn or request.iv or b""
        cipher_modes.check_iv(mode, iv, parameters)
        data, tag = mode.encrypt(_key(work, row, parameters), request, iv, parameters)
        usage.charge_encrypt(work, row, len(request.data))
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
    if not states.processes(row.state, _date(start), work.at):
        why = f"a key that is {row.state} does not decrypt, or not before its date"
        raise work.refusal(PermissionDenied(why), row)
    try:
        parameters = _parameters(row, request.parameters)
        mode = cipher_modes.mode_of(parameters, row.algorithm)
        cipher_modes.check_iv(mode, request.iv, parameters)
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
