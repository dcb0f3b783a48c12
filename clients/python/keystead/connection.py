"""The program's process: one request a line, one answer a line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LAUNCHER = Path(__file__).with_name("_launcher.py")
_END_S = 30.0  # real seconds that the program may take to end its lab


class KeysteadError(Exception):
    """An error of keystead: ``id`` as in ``keystead explain ID``, and ``fix``, what helps."""

    def __init__(self, id: str, text: str, fix: str = "") -> None:
        super().__init__(f"{id}: {text}" + (f" (fix: {fix})" if fix else ""))
        self.id, self.text, self.fix = id, text, fix


class Answer(dict[str, Any]):
    """A JSON object whose members are attributes too: ``host.power``, ``host["power"]``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self.get('kind', 'the answer')} has no {name}") from None


class Connection:
    """A process of ``keystead api``. Threads take turns."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._turn = threading.Lock()
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
                given.write(line)
                given.flush()
            except (BrokenPipeError, ValueError):
                raise self._ended() from None
            answer = said.readline()
        if not answer:
            raise self._ended()
        found = json.loads(answer, object_hook=Answer)
        if "error" in found:
            raise KeysteadError(**found["error"])
        return found["answer"]

    def close(self) -> None:
        """End the lab and the process; repeating it does nothing."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ended(self) -> KeysteadError:
        code = self._process.poll()
        return KeysteadError("KS-INT-001", f"keystead has ended (exit code {code})")
