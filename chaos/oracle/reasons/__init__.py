"""The reasons of the truth table, each a function of the facts of one question.

``keystead explain R6`` tells what a reason says; here is when it speaks.

- ``base``         what a reason is
- ``standard``     R1 to R14   · ``boots`` R17 to R21      · ``vsan`` R15, R16
- ``deletion``     R23 to R28, R38   · ``gone`` R29 to R34, R39   · ``persistence`` R35 to R37
- ``trusted``      R40 to R54  · ``native`` R55 to R66
"""

from __future__ import annotations

from typing import Final

from chaos.oracle.reasons import (
    boots,
    deletion,
    gone,
    native,
    persistence,
    standard,
    trusted,
    vsan,
)
from chaos.oracle.reasons.base import LetterReason

REASONS: Final[tuple[LetterReason, ...]] = (
    *standard.REASONS,
    *boots.REASONS,
    *vsan.REASONS,
    *deletion.REASONS,
    *gone.REASONS,
    *persistence.REASONS,
    *trusted.REASONS,
    *native.REASONS,
)
