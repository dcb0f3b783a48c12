"""Which functions and files a process uses, for the map of what reaches what.

The standard library only: every Python process of such a run loads it. What is used first is noted
at once, since processes here are killed as often as they end. A forked process begins anew.

Some uses last beyond the test that happens to come first: those while a module is imported, or
inside a function whose result is cached. They are noted as uses by that module: ``BY path key``.
"""

from __future__ import annotations

import os
import sys
import threading
from types import CodeType, FrameType
from typing import Any

LOG = "KEYSTEAD_TRACE"
"""The variable that names the file of the notes of processes that a test starts."""
BY = "by "
"""Begins what a module uses for all who use the module."""
ALWAYS = "always "
"""Begins the key of what every test may rest on."""
ANY_FOLDER = "list *"
"""The key of who asks git for the files of the tree."""

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)) + os.sep
_PACKAGES = tuple(
    ROOT + name + os.sep for name in ("protocol", "services", "chaos", "lab", "tests")
)
_OF_A_FUNCTION = 0x2  # CO_NEWLOCALS
_LISTED = frozenset({"os.listdir", "os.scandir"})

_codes: set[CodeType] = set()
_noted: set[str] = set()
_away = {"pid": 0}  # of a process that notes into the file, and of no other
_begun: list[bool] = []


def begin() -> None:
    """From now on; ``take`` gives what this process itself has used."""
    _away["pid"] = 0
    if _begun:
        return
    _begun.append(True)
    os.register_at_fork(after_in_child=_start_anew)
    sys.addaudithook(_see_event)
    threading.settrace(_see_call)
    sys.settrace(_see_call)


def begin_in_child() -> None:
    """From now on, into the file that the environment names."""
    begin()
    _away["pid"] = os.getpid()


def _start_anew() -> None:
    _codes.clear()
    _noted.clear()
    _away["pid"] = os.getpid()
    if sys.gettrace() is None:
        sys.settrace(_see_call)


def take() -> set[str]:
    """What was used since the last time: ``path::qualified name``, ``file path``, ``list path``,
    ``import module``; see ``BY``."""
    noted = _noted.copy()  # what follows is traced too
    _codes.clear()
    _noted.clear()
    return noted


def key_of(code: CodeType) -> str:
    """Empty for what is not of this tree, and for the bodies of modules and classes."""
    file = code.co_filename
    if not file.startswith(_PACKAGES) or file == __file__ or not code.co_flags & _OF_A_FUNCTION:
        return ""
    name = code.co_qualname.partition(".<locals>")[0]
    return "" if "<" in name else f"{file[len(ROOT) :]}::{name}"


def _see_call(frame: FrameType, event: str, arg: Any) -> None:
    code = frame.f_code
    if code not in _codes:
        _codes.add(code)
        if key := key_of(code):
            _note(key, frame)


def _see_event(event: str, arguments: tuple[Any, ...]) -> None:
    if not _begun:
        return  # Python ends, and has taken away what modules know
    if event == "open" or event in _LISTED:
        if not _by_import_system(sys._getframe(1)):
            kind = "file" if event == "open" else "list"
            _note_path(kind, arguments[0] if arguments else ".")
    elif event == "import":
        if not _module_of(sys._getframe()):  # what modules import is read from their source
            _note(f"import {arguments[0]}", sys._getframe())
    elif event == "subprocess.Popen":
        words = arguments[1]
        words = [words] if isinstance(words, str | bytes | os.PathLike) else list(words)
        for word in map(os.fsdecode, words):
            if os.sep in word:
                _note_path("file", word)
        if os.path.basename(os.fsdecode(words[0])) == "git":
            _note(ANY_FOLDER, sys._getframe())


def _note_path(kind: str, path: Any) -> None:
    if isinstance(path, bytes | os.PathLike):
        path = os.fsdecode(path)
    if not isinstance(path, str) or "__pycache__" in path:
        return
    if not os.path.isabs(path):
        try:
            path = os.path.join(os.getcwd(), path)
        except OSError:
            return  # a folder that is gone
    path = os.path.normpath(path) + os.sep
    if path.startswith(ROOT) and not path.startswith(ROOT + "."):
        _note(f"{kind} {path[len(ROOT) : -1]}", sys._getframe())


def _note(key: str, frame: FrameType) -> None:
    if key in _noted:
        return
    if module := _module_of(frame):
        key = f"{BY}{module} {key}"
        if key in _noted:
            return
    _noted.add(key)
    if _away["pid"]:
        _write(key)


def _by_import_system(frame: FrameType) -> bool:
    """Whether Python or pytest looks for a module, or loads it."""
    return frame.f_code.co_filename.endswith(("importlib._bootstrap_external>", "rewrite.py"))


def _module_of(frame: FrameType | None) -> str:
    """The module that is imported now, or that keeps a result; empty when there is none.

    A test's own module and the one that is run are none: who runs them is known.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PACKAGES):
            known = frame.f_globals
            path = code.co_filename[len(ROOT) :]
            if code.co_name == "<module>":
                is_test = os.path.basename(path).startswith("test_")
                return "" if is_test or known.get("__name__") == "__main__" else path
            if hasattr(known.get(code.co_name), "cache_info"):
                return path
        frame = frame.f_back
    return ""


def _write(key: str) -> None:
    path = os.environ.get(LOG)
    if not path:
        return
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return  # a test took the disk away, or the run is over
    try:
        os.write(file, f"{key}\n".encode())
    except OSError:
        pass
    finally:
        os.close(file)


if __name__ == "tracing" and os.environ.get(LOG):
    begin_in_child()
