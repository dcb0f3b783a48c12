"""Which functions and files a process uses, for the map of what reaches what.

The standard library only: every Python process of such a run loads it. What is used first is noted
at once, since processes here are killed as often as they end. A forked process begins anew.
"""

from __future__ import annotations

import os
import sys
import threading
from types import CodeType, FrameType
from typing import Any

LOG = "KEYSTEAD_TRACE"
"""The variable that names the file of the notes of processes that a test starts."""

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)) + os.sep
_PACKAGES = tuple(
    ROOT + name + os.sep for name in ("protocol", "services", "chaos", "lab", "tests")
)
_OF_A_FUNCTION = 0x2  # CO_NEWLOCALS
_LISTED = frozenset({"os.listdir", "os.scandir"})

_codes: set[CodeType] = set()
_files: set[str] = set()
_away = {"pid": 0}  # of a process that notes into the file, and of no other


def begin() -> None:
    """From now on; ``take`` gives what this process itself has used."""
    os.register_at_fork(after_in_child=_forked)
    sys.addaudithook(_audited)
    threading.settrace(_called)
    sys.settrace(_called)


def begin_in_child() -> None:
    """From now on, into the file that the environment names."""
    _away["pid"] = os.getpid()
    begin()


def _forked() -> None:
    _codes.clear()
    _files.clear()
    _away["pid"] = os.getpid()
    if sys.gettrace() is None:
        sys.settrace(_called)


def stay() -> None:
    """This forked process collects by itself."""
    _away["pid"] = 0


def take() -> set[str]:
    """What was used since the last time: ``path::qualified name``, ``file path``, ``list path``."""
    codes, files = _codes.copy(), _files.copy()  # what follows is traced too
    _codes.clear()
    _files.clear()
    return {key for code in codes if (key := key_of(code))} | files


def key_of(code: CodeType) -> str:
    """Empty for what is not of this tree, and for the bodies of modules and classes."""
    file = code.co_filename
    if not file.startswith(_PACKAGES) or file == __file__ or not code.co_flags & _OF_A_FUNCTION:
        return ""
    name = code.co_qualname.partition(".<locals>")[0]
    return "" if "<" in name else f"{file[len(ROOT) :]}::{name}"


def _called(frame: FrameType, event: str, arg: Any) -> None:
    code = frame.f_code
    if code not in _codes:
        _codes.add(code)
        if _away["pid"]:
            _note(key_of(code))


def _audited(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        kind = "file"
    elif event in _LISTED:
        kind = "list"
    else:
        return
    path = arguments[0] if arguments else None
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str) or path.endswith((".py", ".pyc")) or "__pycache__" in path:
        return
    if not path.startswith(ROOT):
        if path.startswith(os.sep):
            return
        try:
            path = os.path.join(os.getcwd(), path)
        except OSError:
            return  # a folder that is gone
        if not path.startswith(ROOT):
            return
    key = f"{kind} {os.path.normpath(path)[len(ROOT) :]}"
    if key not in _files:
        _files.add(key)
        if _away["pid"]:
            _note(key)


def _note(key: str) -> None:
    path = os.environ.get(LOG)
    if not key or not path:
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
