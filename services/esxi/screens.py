"""The screens of a boot that cannot continue, in the product's words (BOOT-01)."""

from __future__ import annotations

from typing import Final

from services.esxi.host import EsxiHost
from services.runtime.service import Halted

SCREEN_A: Final = "Unable to restore the system configuration. A security violation was detected."
SCREEN_B: Final = "Failed to decrypt system configuration"
SCREEN_C: Final = "Unable to recover the system configuration"


def record_halt(host: EsxiHost, screen: str, reason: str) -> Halted:
    """Record the reason; the screen shows only the product's text."""
    host.node.record("boot.stopped", level="error", screen=screen, reason=reason)
    return Halted(screen)
