"""One story with at most one blow: what happens is recovered from, judged, and the story goes on.

A store that was struck is looked at after its node has lost its power and booted. Then it holds
what it held before the step, or what the step makes of that, and the latter if the step was
acknowledged; a repeat of the step brings it there; nothing is left of what was removed.

A device that does something else than it says (``chaos.points.FLAWS``) may cost what was
acknowledged, and never silently: the node refuses to serve and says why, or all is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from lab.schema.errors import KeysteadError
from lab.simulation.points import Passage
from protocol.errors import ProductError
from protocol.messages.agent import NodeRecord, NodeRunState
from protocol.terms import NodeName
from tests.sweep.scene import Scene
from tests.sweep.story import State, Step, Story

_TRIES: Final = 3
_AFTERWARDS_S: Final = 2.0  # lab seconds in which what a step has set going belongs to it
_RECORDS: Final = 12
_REFUSED: Final = "refused"
_RECORDED: Final = ("node.internal_error", "node.background_failed", "node.start_failed")
_TELLING: Final = re.compile(r"halted .*does not serve: |damaged|malformed")
"""What a node says of a database that is not as it was written."""


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``found`` is ``old`` or ``new`` (``between`` in the midst of several
    requests), ``refused`` when the node found out what its device had done and told it; empty when
    no blow fell, or neither.

    ``acknowledged``: the step in which it fell was. ``violations`` say what is wrong, and
    ``records`` what the node in question has recorded since the blow.
    """

    step: str = ""
    acknowledged: bool = False
    found: str = ""
    violations: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


class Play:
    """A play of one story; ``struck`` gives the passage at which the blow fell, once it has, and
    ``flawed`` says whether the device then did something else than it said."""

    def __init__(
        self,
        scene: Scene,
        story: Story,
        struck: Callable[[], Passage | None] = lambda: None,
        flawed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._scene, self._story, self._struck, self._flawed = scene, story, struck, flawed
        self._recovered = False
        self.step = ""  # which is done now; empty between two of them
        self._struck_in, self._acknowledged, self._found = "", False, ""
        self._violations: list[str] = []
        self._gone: State | None = None  # what the last step that removes has removed from
        self._since = len(scene.lab.records)

    async def run(self) -> Played:
        """All steps, and a last look after a boot."""
        for step in self._story.steps():
            struck = await self._take(step)
            if struck is not None and not self._violations:
                await self._lasts(struck)
            if self._violations or self._found == _REFUSED:
                break
        else:
            await self._end()
        if self._struck() is not None and not (self._recovered or self._violations):
            self._violations.append("the blow fell where nothing is judged")
        self._look_for_errors()
        records = tuple(map(_format_record, self._records())) if self._violations else ()
        return Played(
            step=self._struck_in,
            acknowledged=self._acknowledged,
            found=self._found,
            violations=tuple(self._violations),
            records=records,
        )

    # ---- steps ------------------------------------------------------------------------------

    async def _take(self, step: Step) -> NodeName | None:
        """Bring a step to its end. The node that was struck in it, if one was: what the store holds
        then was acknowledged."""
        story, scene, struck = self._story, self._scene, None
        old = await story.look(scene)
        if step.restores:
            self._gone = None
        for attempt in range(1, _TRIES + 1):
            why = await self._do_step(step, attempt)
            passage = None if self._recovered else self._struck()
            if passage is not None:
                self._recovered = True
                self._struck_in, self._acknowledged = step.name, not why
                struck = passage.point.node
                done = await self._judged(step, old, struck)
                if self._found == _REFUSED:
                    return None
                if done or self._violations:
                    return struck if self._acknowledged else None
            elif not why:
                break
            await scene.settle()
        else:
            self._violations.append(f"{step.name} cannot be done any more: {why}")
            return struck
        new = await story.look(scene)
        if not step.became(old, new):
            self._violations.append(
                f"{step.name} was acknowledged, and is not there: {_difference(old, new)}"
            )
            return struck
        await self._note_removal(step, old, new)
        await story.after_step(scene)
        return struck

    async def _do_step(self, step: Step, attempt: int) -> str:
        """Why it was not acknowledged; empty when it was."""
        self.step, why = step.name, ""
        try:
            await step.do(self._scene, attempt)
        except (KeysteadError, ProductError) as error:
            why = f"{type(error).__name__}: {error}"
        await self._scene.lab.sleep(_AFTERWARDS_S)
        self.step = ""
        return why

    async def _judged(self, step: Step, old: State, node: NodeName) -> bool:
        """Recover, and judge what is there. Whether the step need not be asked for again.

        What a life ended by a crash may have left unsynced: what is there after the next boot
        must outlast a power loss, for others have believed it by then.
        """
        scene = self._scene
        shown = await self._look_at(step, old, node)
        crashed = scene.lab.agent.machine(node).state is NodeRunState.OFF
        new = await self._reboot(node)
        if new is None:
            return False
        if crashed:
            await self._still_there(node, new)
        if shown is not None and self._story.shows_durable and new == old != shown:
            self._violations.append(
                f"{step.name} was shown as done, and is lost: {_difference(old, shown)}"
            )
        done = step.became(old, new)
        kept = done and (self._acknowledged or not step.again)
        self._found = "new" if done else "old" if new == old else ""
        if not self._found and step.between(old, new):
            self._found = "between"
        if not self._found:
            self._violations.append(
                f"neither old nor new after {step.name}: {_difference(old, new)}"
            )
        elif self._acknowledged and not done:
            self._violations.append(
                f"{step.name} was acknowledged, and is lost: {_difference(old, new)}"
            )
        if kept:
            await self._note_removal(step, old, new)
        await self._still_gone(new)
        await scene.rejoin()
        return kept

    async def _look_at(self, step: Step, old: State, node: NodeName) -> State | None:
        """What a node says that goes on after a call was refused; None if it does not run."""
        scene, story = self._scene, self._story
        if scene.lab.agent.machine(node).state is not NodeRunState.RUNNING:
            return None
        if story.alone:
            await scene.cut_off((node,))
        try:
            shown = await story.look(scene)
        except (KeysteadError, ProductError) as error:
            self._violations.append(f"{node} cannot be looked at: {error}")
            return None
        pairs = zip(story.parts(old), story.parts(shown), strict=True)
        if not all(o == s or step.became(o, s) or step.between(o, s) for o, s in pairs):
            self._violations.append(
                f"{node} shows neither old nor new after {step.name}: {_difference(old, shown)}"
            )
        return shown

    async def _reboot(self, node: NodeName) -> State | None:
        """The state after a power loss; None, and why is noted, when there is none to be had."""
        scene, story = self._scene, self._story
        if story.alone:
            await scene.cut_off((node,))
        why = await scene.boot(node)
        if why:
            self._refuses(why)
            return None
        if not story.alone:
            await scene.settle()
        try:
            state = await story.look(scene)
            self._violations += await story.find_unusable(scene, state)
        except (KeysteadError, ProductError) as error:
            self._refuses(f"{node} cannot be looked at: {error}")
            return None
        return state

    def _refuses(self, why: str) -> None:
        """The node does not do its work after a boot: right if its device has a flaw, which it
        tells, and wrong otherwise."""
        if self._flawed() and _TELLING.search(why):
            self._found = _REFUSED
        else:
            self._violations.append(why)

    async def _note_removal(self, step: Step, old: State, new: State) -> None:
        if step.removes:
            self._gone = old
            await self._still_gone(new)

    async def _still_gone(self, now: State) -> None:
        """No device can be asked for what it did not write over, and said that it did."""
        if self._gone is not None and not self._flawed():
            self._violations += await self._story.find_remains(self._scene, self._gone, now)

    # ---- the end ----------------------------------------------------------------------------

    async def _end(self) -> None:
        """Everything that was acknowledged is there after a power loss of every watched node."""
        for node in self._story.watched:
            await self._lasts(node)

    async def _lasts(self, node: NodeName) -> None:
        """What the store holds now it holds after a power loss of ``node`` too."""
        last = await self._story.look(self._scene)
        now = await self._still_there(node, last)
        if now is not None:
            await self._still_gone(now)
            await self._scene.rejoin()

    async def _still_there(self, node: NodeName, last: State) -> State | None:
        """The state after a power loss of ``node``, which has to be the ``last`` one."""
        now = await self._reboot(node)
        if now is not None and now != last:
            self._violations.append(f"a power loss of {node} changed: {_difference(last, now)}")
        return now

    def _records(self) -> list[NodeRecord]:
        since = self._scene.lab.records[self._since :]
        nodes = self._story.watched
        return [r for r in since if r.node in nodes and r.level != "info"][-_RECORDS:]

    def _look_for_errors(self) -> None:
        """Internal errors, and ends that no refused call explains."""
        for record in self._scene.lab.records[self._since :]:
            refused = str(record.fields.get("error", "")) in ("OSError", "SaveFailed")
            if record.kind in _RECORDED and not refused:
                self._violations.append(f"internal error: {_format_record(record)}")
        self._violations += self._scene.lab.defects()


def _difference(old: State, new: State) -> str:
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    told = [f"{name}: {_value(old.get(name))} -> {_value(new.get(name))}" for name in names]
    return "; ".join(told) or "nothing changed"


def _value(value: object) -> str:
    """Sets in order, for what is told is compared."""
    return (
        f"{{{', '.join(sorted(map(str, value)))}}}" if isinstance(value, frozenset) else str(value)
    )


def _format_record(record: NodeRecord) -> str:
    fields = " ".join(f"{name}={value}" for name, value in record.fields.items())
    return f"{record.at:.6f} {record.node}/{record.boot} {record.kind} {fields}"[:300]
