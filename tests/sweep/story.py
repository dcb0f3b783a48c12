"""What the sweep plays: steps that change a store, and how the store is looked at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from protocol.terms import NodeName
from tests.sweep.scene import Scene

State = Mapping[str, Any]
"""What a store holds, as values that can be compared."""


@dataclass(frozen=True)
class Step:
    """One change, asked for by ``do``, which returns when it was acknowledged and raises if not.

    It may be asked for again: the number of the try is given, from 1. ``became`` says whether a
    state is what the step makes of an earlier one: the whole of it, nothing else; ``between``,
    whether a part of it, for a step of several requests each of which is whole. ``removes``:
    nothing may be left of what it removes; ``restores``: what was removed may come back. ``again``:
    asked for again when it was not acknowledged, though it is done: that changes nothing more.
    """

    name: str
    do: Callable[[Scene, int], Awaitable[object]]
    became: Callable[[State, State], bool]
    between: Callable[[State, State], bool] = lambda old, new: False
    again: bool = True
    removes: bool = False
    restores: bool = False


class Story(ABC):
    """A store's story. ``watched`` are the nodes whose storage calls are points.

    ``topology`` are the options of the lab ``default``.
    """

    name: ClassVar[str]
    watched: ClassVar[tuple[NodeName, ...]]
    topology: ClassVar[Mapping[str, Any]]
    alone: ClassVar[bool] = False
    """Whether the store is looked at after a boot before others can bring back what it lost."""

    shows_durable: ClassVar[bool] = True
    """Whether what a node shows after a call was refused is there after a power loss too."""

    async def prepare(self, scene: Scene) -> None:
        """Bring the lab to where the story begins; not struck."""
        await scene.settle()

    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """In order."""

    @abstractmethod
    async def look(self, scene: Scene) -> State:
        """What the store holds now; the node runs."""

    async def after_step(self, scene: Scene) -> None:  # noqa: B027 - most stories have nothing to do
        """Called when a step has come to its end; not struck."""

    async def find_unusable(self, scene: Scene, state: State) -> list[str]:
        """What of that which the store holds after a boot cannot be used, if anything."""
        return []

    def parts(self, state: State) -> tuple[State, ...]:
        """What in a state may be behind the rest while the node that was refused a call goes on."""
        return (state,)

    async def find_remains(self, scene: Scene, gone: State, now: State) -> list[str]:
        """What is left of that which a step has removed from ``gone``, if anything."""
        return []
