"""The machine under a node: its power, its firmware set-up, and the end of its lives.

A crash first ends the incarnation, then cleans up: wire, databases, datastore locks, TPM power.
Nothing created for one incarnation is reachable from the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from msgspec import structs

from protocol.errors import InvalidState, NotConnected
from protocol.messages.agent import (
    Firmware,
    NodeRecord,
    NodeRunState,
    NodeSpec,
    NodeStatus,
    Slowdown,
    TpmBackend,
)
from services.runtime.bus import BusPort
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.node import NodeRunner, Recipe
from services.runtime.ports import Ports
from services.runtime.request_queues import NO_TIMES, QueueFigures, ServiceQueue
from services.runtime.service import PowerInputs
from services.runtime.world import MachineClock, World


class Machine:
    """One node's hardware; at most one life at a time."""

    def __init__(
        self, spec: NodeSpec, world: World, recipe: Recipe, observe: Callable[[NodeRecord], None]
    ) -> None:
        self.spec = spec
        self.firmware: Firmware = spec.firmware
        self.skew_s = 0.0
        self.slowdown: Slowdown | None = None
        self.state = NodeRunState.OFF
        self.screen = ""
        self.ended = self.ended_before = ""
        self._world, self._recipe, self._observe = world, recipe, observe
        self._runner: NodeRunner | None = None
        self._clock: MachineClock | None = None
        self._queue: ServiceQueue | None = None
        self._work = QueueFigures()
        self._root: asyncio.Task[None] | None = None
        self._settled = asyncio.Event()
        # Set when the present life has stopped, or has ended and is cleaned up.
        self._over = asyncio.Event()
        self._counters: dict[str, int] = {}
        self._plain: NodeStatus | None = None
        self._ending = False

    @property
    def runner(self) -> NodeRunner:
        """The life that serves now; ``NotConnected`` when there is none."""
        if self._runner is None or self.state is not NodeRunState.RUNNING:
            raise NotConnected(f"{self.spec.node} is {self.state.value}")
        return self._runner

    def status(self, *, counters: bool = True) -> NodeStatus:
        """The state of the machine for the lab; ``counters`` False leaves the counters out."""
        if not counters:
            return self._without_counters()
        return structs.replace(
            self._without_counters(),
            counters=self._sum_counters(),
            rules=self._world.rules.count_strikes(self.spec.node),
        )

    def _without_counters(self) -> NodeStatus:
        """Kept ready: the lab asks every second, and the status seldom differs."""
        last, boot = self._plain, self._world.last_boot(self.spec.node)
        if (
            last is None
            or last.boot != boot
            or last.state is not self.state
            or last.screen != self.screen
            or last.ended != self.ended
            or last.skew_s != self._current_skew_s()
            or last.slowdown is not self.slowdown
        ):
            last = self._plain = NodeStatus(
                node=self.spec.node,
                role=self.spec.role,
                site=self.spec.site,
                cluster=self.spec.cluster,
                state=self.state,
                boot=boot,
                screen=self.screen,
                ended=self.ended,
                ended_before=self.ended_before,
                tpm=self.spec.tpm,
                skew_s=self._current_skew_s(),
                slowdown=self.slowdown,
                service=self.spec.service,
            )
        return last

    def _current_skew_s(self) -> float:
        """The skew of this life's clock; without a life, that of the next one."""
        return self.skew_s if self._clock is None else self._clock.skew_s

    def skew(self, seconds: float) -> None:
        """Set the skew of the wall clock, for this life and later ones."""
        self.skew_s = seconds
        if self._clock is not None:
            self._clock.skew_s = seconds

    def slow(self, slowdown: Slowdown | None) -> None:
        """Slow the node's work down, in this life and later ones; None ends that."""
        self.slowdown = slowdown
        if self._queue is not None:
            self._queue.slowdown = slowdown

    def _sum_counters(self) -> dict[str, int]:
        """Counters over all lives of this machine, in order of their names."""
        total = self._counters | self._work.counters()
        if self._queue is not None:
            total |= self._queue.gauges(self._world.monotonic())
        elif "work_waiting" in total:
            total |= {"work_waiting": 0, "work_backlog_ms": 0}  # what waited has gone with its life
        if self._runner is not None:
            streams = self._runner.streams
            for name, value in (
                *self._runner.bus.counters.items(),
                *(() if streams is None else streams.counters.items()),
                *((("overruns", overruns),) if (overruns := self._runner.bus.overruns) else ()),
                ("internal_errors", self._runner.internal_errors),
                ("violations", self._runner.bus.violations),
            ):
                total[name] = total.get(name, 0) + value
        return dict(sorted(total.items()))

    # ---- up ---------------------------------------------------------------------------------

    async def power_on(self, options: Mapping[str, str], *, wait: bool) -> None:
        """Power on; no change when it is on. ``wait``: return when it runs, has halted, or went
        down."""
        if self.state is NodeRunState.OFF:
            if self._ending:
                raise InvalidState(f"{self.spec.node} is going down")
            self._begin_life(options)
        if wait:
            await self._settled.wait()

    def _begin_life(self, options: Mapping[str, str]) -> None:
        boot = self._world.next_boot(self.spec.node)
        life = Incarnation(self.spec.node, boot)
        clock = self._clock = self._world.clock(life)
        clock.skew_s = self.skew_s
        rng = self._world.rng(life)
        times = self.spec.service or NO_TIMES
        choices, processor = rng.stream("service"), self._world.processor(self.spec.node)
        queue = self._queue = ServiceQueue(times, clock, choices, self._work, processor)
        queue.slowdown = self.slowdown
        bus = BusPort(
            life,
            lambda: self._world.wire(life),
            self._world.keyring(self.spec.node),
            self._world.rules,
            clock,
            self.spec.role.value,
            queue,
        )
        has_tpm = self.spec.tpm is not TpmBackend.NONE and self.firmware.tpm_enabled
        streams = self._world.streams(life, clock) if self._recipe.connects else None
        ports = Ports(
            bus,
            clock,
            rng,
            self._world.disk(life),
            self._world.tpm(life) if has_tpm else None,
            self._world.vtpms(life),
            streams,
        )
        self.state, self.screen = NodeRunState.BOOTING, ""
        self.ended, self.ended_before = "", self.ended
        self._settled, self._over = asyncio.Event(), asyncio.Event()
        self._world.mark(self.spec.node, boot, "power-on")
        self._runner = NodeRunner(
            self.spec,
            life,
            bus,
            ports,
            PowerInputs(self.firmware, dict(options)),
            self._recipe,
            self._observe,
            lambda why: self._handle_failure(life, why),
            streams,
            queue,
        )
        self._root = self._world.spawn(life, "root", self._runner.live(self._set_state))

    def _set_state(self, state: str, screen: str) -> None:
        self.state, self.screen = NodeRunState(state), screen
        self._settled.set()

    def _handle_failure(self, life: Incarnation, why: str) -> None:
        """The node failed by itself: end its life as a crash, with the reason on its screen."""
        if life.alive:
            self.end_life_now(WayDown.CRASH)
            self.screen = why

    def hold(self, held: bool) -> None:
        """Pause the life in force, or resume it; ``NotConnected`` when there is none."""
        life = None if self._runner is None else self._runner.life
        if held and life is None:
            raise NotConnected(f"{self.spec.node} is {self.state.value}")
        if life is not None:
            life.pause() if held else life.resume()

    # ---- down -------------------------------------------------------------------------------

    def end_life_now(self, way: WayDown) -> None:
        """End the life at once, even from one of its own steps, and clean up afterwards. No change
        when it is off."""
        if self._runner is not None:
            life = self._runner.life
            self._end_life(life, way)
            self._world.spawn(None, f"{life.node}:tidy", self._clean_up(life, way))

    async def power_off(self, way: WayDown) -> None:
        """End the life; returns when the machine is off and cleaned up. No change when it is
        off."""
        runner = self._runner
        if runner is None:
            return
        life = runner.life
        if way is WayDown.STOP and self.state is NodeRunState.RUNNING and self._root is not None:
            over = self._over
            self._root.add_done_callback(lambda _: over.set())
            runner.request_stop()
            await over.wait()
            if not life.alive:  # the life crashed during its orderly stop
                return
            self._end_life(life, WayDown.STOP)
        elif life.alive:
            # A machine that boots or has halted has nothing to save: an orderly stop is a power cut
            # then.
            way = WayDown.POWER_LOSS if way is WayDown.STOP else way
            self._end_life(life, way)
        await self._clean_up(life, way)

    def _end_life(self, life: Incarnation, way: WayDown) -> None:
        self._ending = True
        runner = self._runner
        life.end(way)
        self._world.mark(life.node, life.boot, f"end:{way.value}")
        if runner is not None:
            runner.bus.abort()
            if runner.streams is not None:
                runner.streams.abort()
            runner.disconnect_console_callers()
            self._counters = self._sum_counters()
        if self._root is not None and not self._root.done():
            self._root.cancel()  # powerless in the lab; in the simulation it never runs again
        self._runner = self._root = self._clock = self._queue = None
        self.state, self.ended = NodeRunState.OFF, way.value

    async def _clean_up(self, life: Incarnation, way: WayDown) -> None:
        try:
            await self._world.end_life(life, way)
        finally:
            self._ending = False
            self._settled.set()
            self._over.set()
