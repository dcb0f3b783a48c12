"""Types of keys of a standard provider, which came with 9.0 (KEY-07): as clients ask for them, and
as they are reported. The writers leave these fields out for clients of an older version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pyVmomi import vim

from lab.schema import answers
from lab.schema.answers.keys import WrappingKey
from lab.schema.commands.keys import KeyTypeName, ProviderKeys
from lab.vsphere.faults import invalid_argument
from lab.vsphere.vim.history import when
from lab.vsphere.vim.managed import build
from protocol.terms import KeyType, ManagementType

ENC = vim.encryption
_SPEC, _INFO = ENC.KmipServerSpec, ENC.KmipClusterInfo
_STATUS = ENC.CryptoManagerKmip.CryptoKeyStatus


def read_key_type(text: str | None, argument: str) -> KeyTypeName:
    """``rawKey``, ``wrappedKey``, or empty for none; ``InvalidArgument`` for another text."""
    if not text:
        return ""
    if text == KeyType.RAW.value:
        return "rawKey"
    if text == KeyType.WRAPPED.value:
        return "wrappedKey"
    raise invalid_argument(argument, f"{text}: a key type is rawKey or wrappedKey")


def read_provider_keys(server: Any) -> ProviderKeys:
    """What a ``KmipServerSpec`` says of the new keys of its provider; nothing: no change.
    ``InvalidArgument`` for a ``keySpec`` without a type."""
    key_type, spec = read_key_type(server.defaultKeyType, "server.defaultKeyType"), server.keySpec
    if spec is None:
        return ProviderKeys(key_type=key_type)
    if not key_type:
        raise invalid_argument("server.keySpec", "a keySpec needs a defaultKeyType")
    if isinstance(spec, _SPEC.WrappingKeyIdKeySpec):
        if not spec.keyId:
            raise invalid_argument("server.keySpec", "the id of the wrapping key is empty")
        return ProviderKeys(key_type=key_type, wrapping_key=str(spec.keyId))
    if isinstance(spec, _SPEC.WrappingRotationIntervalKeySpec):
        return ProviderKeys(key_type=key_type, rotation_days=spec.rotationInterval)
    raise invalid_argument("server.keySpec", "name a wrapping key or a rotation interval")


def provider_fields(row: answers.Provider) -> dict[str, Any]:
    """``defaultKeyType`` and ``keyInfo`` of a ``KmipClusterInfo``, of a standard provider."""
    if row.management_type is not ManagementType.VCENTER:
        return {}
    key_type = row.key_type or KeyType.RAW
    return {"defaultKeyType": key_type.value, "keyInfo": _provider_info(row)}


def _provider_info(row: answers.Provider) -> Any:
    key = row.wrapping_key
    if key is not None and key.by_id:
        return build(_INFO.WrappingKeyIdKeyInfo, keyId=key.key_id, configuredTime=_time(key.since))
    if key is None and row.rotation_days is None and row.key_type is not KeyType.WRAPPED:
        return None
    return build(
        _INFO.WrappingRotationIntervalKeyInfo,
        keyId=None if key is None else key.key_id,
        rotationInterval=row.rotation_days,
        lastRotation=_time(row.rotated_at),
    )


def wrapping_key_info(key: WrappingKey | None) -> Any:
    """``keyInfo`` of a ``CryptoKeyStatus``; None for a raw key."""
    if key is None:
        return None
    if key.by_id:
        return build(
            _STATUS.WrappingKeyIdKeyInfo, keyId=key.key_id, configuredTime=_time(key.since)
        )
    if key.since is None:
        return _STATUS.KeyInfo(keyId=key.key_id)
    return build(
        _STATUS.WrappingRotationIntervalKeyInfo,
        keyId=key.key_id,
        createTime=_time(key.since),
        rotateTime=_time(key.until),
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else when(seconds)
