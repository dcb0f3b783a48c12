"""Isolation broken: a callback fails where nobody is there to take its exception."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from services.esxi import boot
from tests.mutations.bugs.planting import plant


def _fails() -> NoReturn:
    raise RuntimeError("a defect in a callback")


def _careless(original: Any) -> Any:
    def start_loops(*arguments: Any) -> None:
        original(*arguments)
        asyncio.get_running_loop().call_soon(_fails)

    return start_loops


plant(boot, "start_loops", _careless)
