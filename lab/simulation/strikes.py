"""The crash points of an experiment in a simulated lab."""

from __future__ import annotations

from collections.abc import Callable

from chaos.points import Strike
from lab.simulation.points import Points
from lab.simulation.sim_lab import SimLab
from protocol.terms import NodeName


class SimStrikes:
    """Implements ``chaos.points.Strikes``: at each node that is to be struck stand ``Points``."""

    def __init__(self, lab: SimLab) -> None:
        self._lab = lab
        self._points: dict[NodeName, Points] = {}

    def arm(self, strike: Strike, fell: Callable[[str], None]) -> None:
        """See ``Strikes``."""
        if strike.node not in self._points:
            self._points[strike.node] = Points(self._lab, (strike.node,)).__enter__()
        self._points[strike.node].arm(
            strike.blow,
            node=strike.node,
            function=strike.function,
            call=strike.call,
            path=strike.path,
            nth=strike.nth,
            fell=lambda passage: fell(str(passage)),
        )

    def disarm(self) -> None:
        """See ``Strikes``."""
        for points in self._points.values():
            points.__exit__()
        self._points.clear()
