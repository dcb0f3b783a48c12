"""Releases of the product, as people write them, and as numbers that can be compared."""

from __future__ import annotations

import re
from typing import Final

from protocol.errors import InvalidArgument

Release = tuple[int, int, int]
"""Major, minor and update: ``7.0U3`` is (7, 0, 3)."""

_FORM: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?:U([0-9]{1,3}))?")


def release(version: str) -> Release:
    """``version`` as numbers; ``InvalidArgument`` when it is not of the form 8.0U3."""
    match = _FORM.fullmatch(version)
    if match is None:
        raise InvalidArgument(f"{version!r} is no version such as 8.0U3")
    return int(match[1]), int(match[2]), int(match[3] or 0)
