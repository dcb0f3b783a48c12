"""Whole or not at all, broken: an archive cut within its last piece is taken for a whole one."""

from __future__ import annotations

import dataclasses
from typing import Any

from services.esxi import boot
from tests.mutations.bugs.planting import plant


def _trusting(original: Any) -> Any:
    def unpack(data: bytes, config_key: Any) -> Any:
        opened = original(data, config_key)
        return dataclasses.replace(opened, torn=False, size=len(data))

    return unpack


plant(boot, "unpack", _trusting)
