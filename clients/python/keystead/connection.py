"""The program's process: one request a line, one answer a line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

_LAUNCHER = Path(__file__).with_name("_launcher.py")
_OF_MAPPINGS = frozenset({"get", "items", "keys", "values"})
_END_S = 30.0  # real seconds that the program may take to end its lab


class KeysteadError(Exception):
    """An error of keystead: ``id`` as in ``keystead explain ID``, and ``fix``, what helps."""

    def __init__(self, id: str, text: str, fix: str = "") -> None:
        super().__init__(f"{id}: {text}" + (f" (fix: {fix})" if fix else ""))
        self.id, self.text, self.fix = id, text, fix


class Answer:
    """A JSON object: ``vm.power`` and ``vm["power"]``; ``in``, ``len`` and iteration see its names.

    An object whose names are data, such as ``states`` of a key server, has ``keys``, ``values``,
    ``items`` and ``get`` as well, as far as no member has that name.
    """

    def __init__(self, members: dict[str, Any]) -> None:
        vars(self).update(members)

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def __contains__(self, name: object) -> bool:
        return name in vars(self)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Answer):
            return vars(self) == vars(other)
        return isinstance(other, dict) and plain(self) == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Answer({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    if not TYPE_CHECKING:  # a checker shall refuse what the stub does not name

        def __getattr__(self, name: str) -> Any:
            if name in _OF_MAPPINGS:
                return getattr(vars(self), name)
            raise AttributeError(f"{vars(self).get('kind', 'the answer')} has no {name}")


def plain(value: Any) -> Any:
    """An answer, or a part of one, as dictionaries and lists, which ``json`` writes."""
    if isinstance(value, Answer):
        return {name: plain(member) for name, member in vars(value).items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


class Connection:
    """A process of ``keystead api``. Threads take turns."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._turn = threading.Lock()
        self._owed = 0  # answers to requests that an interrupt left waiting
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_LAUNCHER), "api"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            start_new_session=True,  # Ctrl-C is for the tests: they end the lab
        )

    def ask(self, **request: Any) -> Any:
        """The answer to a request of ``keystead api``. Raises ``KeysteadError``."""
        line = json.dumps(request).encode() + b"\n"
        given, said = self._process.stdin, self._process.stdout
        if given is None or said is None:
            raise self._ended()
        with self._turn:
            try:
                given.write(line)  # into the buffer: what an interrupt leaves there is sent later
                self._owed += 1
                given.flush()
                while self._owed:
                    answer = said.readline()
                    self._owed -= 1
            except (BrokenPipeError, ValueError):
                raise self._ended() from None
        if not answer:
            raise self._ended()
        found = json.loads(answer, object_hook=Answer)
        if "error" in found:
            raise KeysteadError(**found["error"])
        return found["answer"]

    @property
    def ended(self) -> bool:
        """Whether the process has gone, by itself or because it was closed."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the lab and the process; repeating it does nothing."""
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # what a request left there when the process ended
                self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ended(self) -> KeysteadError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        code = self._process.returncode
        return KeysteadError("KS-INT-001", f"keystead has ended (exit code {code})")
