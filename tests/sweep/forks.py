"""Many blows out of one play of a story.

The play goes on undisturbed. At each passage that is to be struck a child is forked within the
step, one for each blow; the blow falls in the child, which plays the rest, judges, and tells. What
came before the passage is played once for all of them.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from chaos.points import FLAWS, Blow, Happening, When
from lab.serve.session import LabSession
from lab.simulation.points import Passage, Points
from lab.simulation.sim_lab import SimLab
from services.runtime.forking.child import die_with
from tests.sweep.play import Play, Played
from tests.sweep.scene import Scene
from tests.sweep.stories import STORIES

LIMIT_S: Final = 60.0  # real seconds that a child may take


class Seen(msgspec.Struct, frozen=True):
    """A passage of an undisturbed play, and the step in which it was."""

    step: str
    passage: Passage


class Struck(msgspec.Struct, frozen=True, kw_only=True):
    """A blow at a passage of a story, and what came of it. ``cpu_s``: processor seconds.

    Without passage and blow: the story undisturbed.
    """

    story: str
    passage: Passage | None = None
    blow: Blow | None = None
    played: Played
    cpu_s: float = 0.0

    @property
    def name(self) -> str:
        """``story/node:function:call:path:nth@when:happening``, which plays just this again."""
        if self.passage is None or self.blow is None:
            return f"{self.story}/"
        return name_of(self.story, self.passage, self.blow)

    @property
    def place(self) -> tuple[float, str]:
        """By which plays of one story are in order."""
        return (-1.0 if self.passage is None else self.passage.at, self.name)


def name_of(story: str, passage: Passage, blow: Blow) -> str:
    """See ``Struck.name``."""
    return f"{story}/{passage}@{blow}"


def record(lab: SimLab, session: LabSession, story: str) -> tuple[Played, list[Seen]]:
    """The story undisturbed: what came of it, and all passages within its steps."""
    chosen, scene, seen = STORIES[story], Scene(lab, session), list[Seen]()
    lab.run(chosen.prepare(scene))
    play = Play(scene, chosen)

    def hear(passage: Passage) -> None:
        if play.step:
            seen.append(Seen(play.step, passage))

    with Points(lab, chosen.watched, hear=hear):
        return lab.run(play.run()), seen


def strike(
    lab: SimLab, session: LabSession, story: str, blows: Mapping[Passage, tuple[Blow, ...]]
) -> list[Struck]:
    """The story with each of these blows, each in a child of its own."""
    chosen, scene = STORIES[story], Scene(lab, session)
    lab.run(chosen.prepare(scene))
    forks = _Forks(lab, story, blows)
    play = Play(scene, chosen, lambda: forks.passage, lambda: forks.happening in FLAWS)
    try:
        with Points(lab, chosen.watched, decide=forks.decide):
            played = lab.run(play.run())
    except BaseException as error:
        if forks.passage is None:
            raise
        played = Played(step=play.step, violations=(f"{type(error).__name__}: {error}",))
    if forks.passage is not None:
        forks.tell(played)
    return [*forks.struck, *forks.list_missed()]


class _Forks:
    """Decides at each moment of each passage, in the play and in its children."""

    def __init__(self, lab: SimLab, story: str, blows: Mapping[Passage, tuple[Blow, ...]]) -> None:
        self._lab, self._story = lab, story
        self._left = {str(passage): (passage, list(falls)) for passage, falls in blows.items()}
        self._passed = set[str]()
        self.struck: list[Struck] = []
        self.passage: Passage | None = None  # in a child: where its blow fell
        self.happening: Happening | None = None  # and which it was
        self._out = -1

    def decide(self, passage: Passage, when: When) -> Happening | None:
        """In the play nothing ever happens; in a child one thing, where it was forked."""
        if self.passage is not None:
            return None
        self._passed.add(str(passage))
        _, left = self._left.get(str(passage), (passage, []))
        for blow in [blow for blow in left if blow.when is when]:
            left.remove(blow)
            if self._fork(passage, blow):
                self.happening = blow.happening
                return blow.happening
        return None

    def list_missed(self) -> list[Struck]:
        """The blows that never fell, for this play came by another way: nothing is known of them.

        Behind a call that has failed by itself none falls, and none is missed.
        """
        played = Played(violations=("this play did not pass here",))
        return [
            Struck(story=self._story, passage=passage, blow=blow, played=played)
            for name, (passage, left) in self._left.items()
            for blow in left
            if name not in self._passed
        ]

    def _fork(self, passage: Passage, blow: Blow) -> bool:
        """True in the child; the play goes on when that has told, or was killed."""
        reading, writing = os.pipe()
        play = os.getpid()
        pid = os.fork()
        if pid == 0:
            die_with(play)
            os.close(reading)
            self._lab.loop.become_running_loop()
            self.passage, self._out = passage, writing
            return True
        os.close(writing)
        try:
            answer = _read_all(reading)
        finally:
            os.close(reading)
            os.kill(pid, signal.SIGKILL)  # it has told, or will not
            os.waitpid(pid, 0)
        if answer:
            played, cpu_s = msgspec.msgpack.decode(answer, type=tuple[Played, float])
        else:
            played = Played(violations=(f"no end within {LIMIT_S:g} s of real time",))
            cpu_s = LIMIT_S
        self.struck.append(
            Struck(story=self._story, passage=passage, blow=blow, played=played, cpu_s=cpu_s)
        )
        return False

    def tell(self, played: Played) -> NoReturn:
        """The end of a child."""
        answer = msgspec.msgpack.encode((played, time.process_time()))
        while answer:
            answer = answer[os.write(self._out, answer) :]
        os._exit(0)


def _read_all(reading: int) -> bytes:
    """All that a child tells; empty when it has not come to its end in time."""
    end, parts = time.monotonic() + LIMIT_S, list[bytes]()
    while select.select([reading], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(reading, 1 << 16)
        if not part:
            return b"".join(parts)
        parts.append(part)
    return b""
