"""Workloads broken: an operation whose answer was lost is written down as one that failed."""

from __future__ import annotations

import dataclasses
from typing import Any

import chaos.workload as workload
from protocol.errors import InvalidState, ProductError
from tests.mutations.bugs.planting import plant


class _Hasty(dict[str, Any]):
    """Operations whose every error says that nothing happened."""

    def __getitem__(self, name: str) -> Any:
        operation = super().__getitem__(name)

        async def run(means: Any, arrival: Any) -> Any:
            try:
                return await operation.run(means, arrival)
            except ProductError as error:
                raise InvalidState(str(error)) from None

        return dataclasses.replace(operation, run=run)


plant(workload, "OPERATIONS", _Hasty)
