"""The verbs of a lab that are about its data broker; see ``chaos.lab.Lab``."""

from __future__ import annotations

from abc import ABC, abstractmethod


class OfBus(ABC):
    """Real and simulated labs have nothing of it in common."""

    @abstractmethod
    async def broker_stop(self) -> None: ...

    @abstractmethod
    async def broker_start(self) -> None: ...

    @abstractmethod
    async def broker_up(self) -> bool: ...

    @abstractmethod
    async def server_stop(self, number: int) -> None: ...

    @abstractmethod
    async def server_start(self, number: int) -> None: ...

    @abstractmethod
    async def server_up(self, number: int) -> bool: ...
