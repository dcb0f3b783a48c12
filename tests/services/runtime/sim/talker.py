"""What the tests of the runner let workers do; importable by name."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
from collections.abc import Callable

from services.runtime.sim.loop import SimLoop


class Odd(Exception):
    """Does not survive pickling: its constructor wants two arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def add(a: int, b: int) -> int:
    return a + b


def describe() -> dict[str, object]:
    main = sys.modules["__main__"]
    return {
        "pid": os.getpid(),
        "threads": len(os.listdir("/proc/self/task")),
        "gc": gc.isenabled(),
        "main": getattr(main, "__file__", None),
        "pytest": "pytest" in sys.modules,
        "alive": threading.active_count(),
    }


def fail(kind: str) -> None:
    match kind:
        case "value":
            raise ValueError("from far away")
        case "odd":
            raise Odd("a", "b")
        case "exit":
            sys.exit(3)
        case "die":
            os._exit(9)


def large(size: int) -> bytes:
    return bytes(size)


def spin() -> None:
    while True:
        time.sleep(0.01)


def talk(begin: str) -> Callable[[str, bytes], bytes]:
    """A conversation over a simulation that stands still between calls."""
    if begin == "refuse":
        raise ValueError("not today")
    loop = SimLoop(int(begin))

    def handle(name: str, payload: bytes) -> bytes:
        match name:
            case "sleep":
                loop.run(asyncio.sleep(float(payload)))
                return str(round(loop.time())).encode()
            case "echo":
                return payload
            case "pid":
                return str(os.getpid()).encode()
            case "spin":
                spin()
            case "die":
                os._exit(9)
        raise KeyError(name)

    return handle
