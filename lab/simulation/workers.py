"""Where the processes come from in which simulations run."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from contextlib import closing, contextmanager

from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.fork_hazards import threads
from services.runtime.forking.own_forks import Forks, OwnForks

PRELOAD = ("lab.play.preload:simulations",)


@functools.cache
def simulations() -> ForkServer:
    """This process's fork server with everything of a simulated lab loaded and warm."""
    server = ForkServer(PRELOAD)
    atexit.register(server.close)
    return server


@contextmanager
def workers() -> Iterator[Forks]:
    """For a caller that blocks until its worker is done: this process itself, which has loaded
    what a worker needs, unless it has threads that a fork would tear."""
    if threads() > 1:
        yield simulations()
        return
    with closing(OwnForks()) as forks:
        yield forks
