"""A bug for campaigns: every answer of a guest is taken for a wrong one, but for those of VMs that
an operation has for itself: these are told by another check."""

from __future__ import annotations

import dataclasses
from typing import Any

import chaos.observe.guests as guests
from chaos.observe.look import OWN
from tests.mutations.bugs.planting import plant


def _judge(original: Any) -> Any:
    def judge(vm: str, *args: Any) -> Any:
        asked = original(vm, *args)
        if vm.startswith(OWN):
            return asked
        return dataclasses.replace(asked, right=False, detail="planted")

    return judge


plant(guests, "_judge", _judge)
