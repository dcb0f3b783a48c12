"""A bug for campaigns: every answer of a guest is taken for a wrong one."""

from __future__ import annotations

import dataclasses
from typing import Any

import chaos.observe.guests as guests
from tests.mutations.bugs.planting import plant


def _judge(original: Any) -> Any:
    def judge(*args: Any, **named: Any) -> Any:
        asked = original(*args, **named)
        return dataclasses.replace(asked, right=False, detail="planted")

    return judge


plant(guests, "_judge", _judge)
