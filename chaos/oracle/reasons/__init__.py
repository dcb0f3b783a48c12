"""The reasons of the truth table, each a function of the facts of one question.

``keystead explain R6`` tells what a reason says; here is when it speaks.

- ``base``      what a reason is
- ``standard``  reasons of the standard provider (R1 to R14)
- ``key_loss``  reasons of keys that are lost
- ``boots``     what the TPM guards at a boot, and what it does not
- ``trusted``   R40 to R54
- ``native``    R55 to R66
"""

from __future__ import annotations

from typing import Final

from chaos.oracle.reasons import boots, key_loss, native, standard, trusted
from chaos.oracle.reasons.base import LetterReason

REASONS: Final[tuple[LetterReason, ...]] = (
    *standard.STANDARD_REASONS,
    *boots.REASONS,
    *standard.VSAN_REASONS,
    *key_loss.DELETION_REASONS,
    *key_loss.GONE_REASONS,
    *standard.PERSISTENCE_REASONS,
    *trusted.REASONS,
    *native.REASONS,
)
