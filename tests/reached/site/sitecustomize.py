"""Loaded by every Python process of a test run: notes what the product does in it.

The standard library only, and nothing happens unless ``KEYSTEAD_REACHED`` names a file. One line a
thing, once in each process; lines of many processes meet in one file, since each is one append.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import FrameType, ModuleType
from typing import Any

REACHED = "KEYSTEAD_REACHED"
"""The variable that names the file of the notes."""

COMMAND, ERROR, PRODUCT_ERROR = "command", "error", "product-error"
EVENT, FAULT, CHECK = "event", "fault", "check"

_seen: set[tuple[int, str, str]] = set()


def note(kind: str, name: str) -> None:
    """That ``name`` was reached; also for programs that are no Python, by who runs them."""
    entry = (os.getpid(), kind, name)  # a forked child notes for itself
    path = os.environ.get(REACHED)
    if entry in _seen or not path:
        return
    _seen.add(entry)
    with contextlib.suppress(OSError):  # a test took the disk away, or the run is over
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, f"{kind} {name}\n".encode())
        finally:
            os.close(file)


def _by_a_test(frame: FrameType | None) -> bool:
    """Whether a test made the object by itself: then the product did not come so far."""
    while frame is not None and isinstance(frame.f_locals.get("self"), BaseException):
        frame = frame.f_back  # the errors of a kind that builds on another
    return frame is not None and f"{os.sep}tests{os.sep}" in frame.f_code.co_filename


def _notes(
    owner: Any, attribute: str, kind: str, names_of: Any, *, of_product: bool = False
) -> None:
    """``owner.attribute`` notes ``names_of(its arguments)`` whenever it is called."""
    original = getattr(owner, attribute)

    @functools.wraps(original)
    def noted(*args: Any, **kwargs: Any) -> Any:
        if not (of_product and _by_a_test(sys._getframe(1))):
            for name in names_of(*args, **kwargs):
                note(kind, name)
        return original(*args, **kwargs)

    setattr(owner, attribute, noted)


def _protocol_errors(module: Any) -> None:
    def names_of(error: Any, *args: Any, **kwargs: Any) -> list[str]:
        return [type(error).__name__]

    _notes(module.ProductError, "__init__", PRODUCT_ERROR, names_of, of_product=True)


def _lab_errors(module: Any) -> None:
    _notes(module.KeysteadError, "__init__", ERROR, _first, of_product=True)


def _chaos_errors(module: Any) -> None:
    _notes(module.ChaosError, "__init__", ERROR, _first, of_product=True)


def _first(error: Any, error_id: str, *args: Any, **kwargs: Any) -> list[str]:
    return [error_id]


def _table(module: Any) -> None:
    _notes(module, "perform", COMMAND, lambda _, command, *at: [type(command).__name__])


def _inventory(module: Any) -> None:
    _notes(module, "_append", EVENT, lambda connection, draft, at: [draft.event.value])


def _keeper(module: Any) -> None:
    def names_of(keeper: Any, fault: Any, *args: Any, **kwargs: Any) -> list[str]:
        return [fault.kind]

    _notes(module.FaultKeeper, "inject", FAULT, names_of)


def _checks(module: Any) -> None:
    _notes(module, "judge", CHECK, lambda names, records: list(names))


_WATCHED = {
    "protocol.errors": _protocol_errors,
    "lab.schema.errors": _lab_errors,
    "chaos.errors": _chaos_errors,
    "lab.serve.table": _table,
    "services.vcenter.inventory": _inventory,
    "chaos.keeper": _keeper,
    "chaos.checks": _checks,
}


class _Watching(Loader):
    """Runs a module as its own loader does, and then has its calls noted."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _WATCHED[module.__name__](module)


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in _WATCHED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Watching(spec.loader)
        return spec


def install() -> None:
    """From now on; modules that are loaded already are watched too."""
    if not any(finder is _Finder for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder)
        for name, watch in _WATCHED.items():
            if name in sys.modules:
                watch(sys.modules[name])


if REACHED in os.environ:
    install()
if "KEYSTEAD_TRACE" in os.environ:  # what reaches what is mapped, see tests.runner.reach
    importlib.import_module("tracing")  # beside this file; it begins by itself
