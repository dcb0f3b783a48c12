"""What a boot measures into the TPM (step B1), as a pure function of what was booted.

PCR 0 firmware · 1 its settings · 4 boot loader · 7 Secure Boot state · 8 modules of the signed
image · 9 options of the command line · 13 the option exec-installed-only, alone, so that a
policy can cover it (POL-04) without covering the build (POL-02).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from protocol.messages.agent import Firmware
from protocol.tpm import event_log
from protocol.tpm.event_log import loader_authority, secure_boot_events
from protocol.tpm.structures import EventType, MeasuredEvent, PcrSelection

PCR_FIRMWARE: Final = 0
PCR_LOADER: Final = 4
PCR_SECURE_BOOT: Final = event_log.PCR
PCR_MODULES: Final = 8
PCR_OPTIONS: Final = 9
PCR_EXEC_INSTALLED: Final = 13
PCR_UNMEASURED: Final = 23
"""A PCR that no boot extends: a policy over it binds to the TPM and to nothing else."""

RECOVERY_OPTION: Final = "encryptionRecoveryKey"
EXEC_OPTION: Final = "execInstalledOnly"
MODULES: Final = ("b.b00", "k.b00", "vmx.v00", "crypto_m.v00", "esx_base.v00")
"""Modules of the signed image. The configuration archive is encrypted, not measured."""


def exec_installed_only(options: Mapping[str, str]) -> bool:
    """Whether the kernel runs executables of installed packages only."""
    return options.get(EXEC_OPTION, "").upper() in ("TRUE", "T", "1")


def measurements(
    firmware: Firmware, version: str, build: str, options: Mapping[str, str]
) -> tuple[MeasuredEvent, ...]:
    """All events of one boot, in order. The recovery key is a secret and is never measured."""
    return (
        *_firmware_events(firmware),
        *secure_boot_events(firmware.secure_boot),
        *_loader_events(firmware.secure_boot, version),
        *_kernel_events(version, build, options),
    )


def image_events(version: str, build: str) -> tuple[MeasuredEvent, ...]:
    """What a boot measures of the signed image alone: the loader, and the modules."""
    return (_loader_image(version), *_module_events(version, build))


def sealing_selection(
    seal_pcrs: tuple[int, ...], *, require_secure_boot: bool, require_exec_installed_only: bool
) -> PcrSelection:
    """The PCRs whose values the config key is sealed to (POL-01, POL-04, knob ``seal_pcrs``).

    PCR 7 is only included while Secure Boot is required. Otherwise the procedure of POL-03, which
    turns Secure Boot on first and requires it afterwards, could not boot in between.
    """
    chosen = [pcr for pcr in seal_pcrs if pcr != PCR_SECURE_BOOT]
    if require_secure_boot:
        chosen.append(PCR_SECURE_BOOT)
    if require_exec_installed_only:
        chosen.append(PCR_EXEC_INSTALLED)
    return PcrSelection.of(chosen or [PCR_UNMEASURED])


def _firmware_events(firmware: Firmware) -> list[MeasuredEvent]:
    version = firmware.version.encode("utf-16-le") + b"\0\0"
    events = [MeasuredEvent(PCR_FIRMWARE, EventType.S_CRTM_VERSION, version)]
    known = {int(kind) for kind in EventType}
    for extra in firmware.extra:
        kind = EventType(extra.type) if extra.type in known else EventType.EFI_ACTION
        events.append(MeasuredEvent(extra.pcr, kind, extra.body))
    return events


def _loader_events(signed: bool, version: str) -> list[MeasuredEvent]:
    authority = [loader_authority()] if signed else []
    return [*authority, _loader_image(version)]


def _loader_image(version: str) -> MeasuredEvent:
    return MeasuredEvent(
        PCR_LOADER,
        EventType.EFI_BOOT_SERVICES_APPLICATION,
        b"safeboot64.efi",
        _image_digest(f"safeboot64.efi {version}"),
    )


def _module_events(version: str, build: str) -> list[MeasuredEvent]:
    return [
        MeasuredEvent(
            PCR_MODULES, EventType.IPL, name.encode(), _image_digest(f"{name} {version} {build}")
        )
        for name in MODULES
    ]


def _kernel_events(version: str, build: str, options: Mapping[str, str]) -> list[MeasuredEvent]:
    events = _module_events(version, build)
    line = " ".join(f"{k}={options[k]}" for k in sorted(options) if k != RECOVERY_OPTION)
    events.append(_text_event(PCR_OPTIONS, line))
    only = "TRUE" if exec_installed_only(options) else "FALSE"
    events.append(_text_event(PCR_EXEC_INSTALLED, f"{EXEC_OPTION}={only}"))
    return events


def _text_event(pcr: int, line: str) -> MeasuredEvent:
    return MeasuredEvent(pcr, EventType.IPL, line.encode(), hashlib.sha256(line.encode()).digest())


def _image_digest(identity: str) -> bytes:
    """A substitute for the digest of a signed image: equal name and build give an equal digest."""
    return hashlib.sha256(b"keystead image " + identity.encode()).digest()
