"""What firmware measures of Secure Boot: PCR 7, and the separators behind it. Pure.

The same in every boot with the same settings (TCG PC client platform firmware profile), so a policy
over PCR 7 holds until somebody changes what may boot.
"""

from __future__ import annotations

from typing import Final

from protocol.tpm.structures import EventType, MeasuredEvent

PCR: Final = 7
_EFI_GLOBAL: Final = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
_EFI_SECURITY: Final = bytes.fromhex("cbb219d73a3d9645a3bcdad00e67656f")


def secure_boot_events(on: bool) -> tuple[MeasuredEvent, ...]:
    """PCR 7: the variables that say what may boot, then a separator of each PCR of the firmware."""
    keys = b"keystead platform keys" if on else b""
    variables = (
        (_EFI_GLOBAL, "SecureBoot", b"\x01" if on else b"\x00"),
        (_EFI_GLOBAL, "PK", keys),
        (_EFI_GLOBAL, "KEK", keys),
        (_EFI_SECURITY, "db", keys),
        (_EFI_SECURITY, "dbx", b""),
    )
    events = [
        MeasuredEvent(PCR, EventType.EFI_VARIABLE_DRIVER_CONFIG, _variable(vendor, name, value))
        for vendor, name, value in variables
    ]
    separators = [MeasuredEvent(pcr, EventType.SEPARATOR, bytes(4)) for pcr in range(8)]
    return (*events, *separators)


def loader_authority() -> MeasuredEvent:
    """PCR 7, with Secure Boot on: whose signature let the boot loader run."""
    body = _variable(_EFI_SECURITY, "db", b"keystead signer of the boot loader")
    return MeasuredEvent(PCR, EventType.EFI_VARIABLE_AUTHORITY, body)


def _variable(vendor: bytes, name: str, value: bytes) -> bytes:
    """UEFI_VARIABLE_DATA: vendor GUID, lengths, name in UTF-16, value."""
    lengths = len(name).to_bytes(8, "little") + len(value).to_bytes(8, "little")
    return vendor + lengths + name.encode("utf-16-le") + value
