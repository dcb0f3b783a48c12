"""What a transcript is played on: simulated labs in this process, by the real command line."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import yaml

from lab.cli.arguments import duration
from lab.cli.main import run
from lab.local.remote import Remote
from lab.local.schema import schema
from lab.schema.errors import KeysteadError
from lab.schema.tables import document_of
from lab.schema.wire import (
    CommandDone,
    FilesOpen,
    OpenFiles,
    RunCommand,
    decode_answer,
    decode_command,
)
from lab.serve.table import carry_out
from lab.simulation.sim_lab import make
from lab.state.state_folder import LabFolder
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.crypto.transfer import OneTimeKey
from tests.lab.api.json_schema import misfits
from tests.lab.cli.conftest import Cli
from tests.tidy.tree import ROOT
from tests.transcripts.files import certificate, sign
from tests.transcripts.names import Names
from tests.transcripts.pages import text_of
from tests.transcripts.script import Said, read, written
from tests.transcripts.shortened import Before, as_printed, document_in, without_usual_fix

A = TypeVar("A")
SEED = 7


@contextlib.contextmanager
def no_loop() -> Iterator[None]:
    """Within a coroutine of the command line another loop may run: one runs in a thread."""
    outer = asyncio.events._get_running_loop()
    asyncio.events._set_running_loop(None)
    try:
        yield
    finally:
        asyncio.events._set_running_loop(outer)


api = cache(schema)


def published(kind: str) -> Any:
    """The published schema of an answer."""
    return api()["answers"][kind]


class SimulatedLab:
    """A lab in virtual time, which stands still between commands unless it is told to wait."""

    def __init__(self, topology: str, changes: dict[str, Any]) -> None:
        seed = changes.pop("seed", SEED)
        changes.setdefault("tpm", "model")
        self.lab, self.session = make(plan(load(topology, **changes)), seed)
        self.key = OneTimeKey()
        leases = self.session.keeper.keep_leases(self.lab.lease_tick_s)
        self.lab.world.spawn(None, "leases", leases)

    def serve(self, message: RunCommand) -> CommandDone:
        """As the supervisor of a lab does it; the answer is as the schema says."""
        try:
            done: CommandDone = self._run(lambda: carry_out(self.session, message, self.key))
        except KeysteadError as error:
            return CommandDone(error_id=error.id, error=str(error), fix=error.fix)
        answer = decode_answer(decode_command(message.command), done.answer)
        document = msgspec.json.decode(msgspec.json.encode(document_of(answer)))
        assert misfits(document, published(type(answer).__name__), api()) == []
        return done

    def wait(self, seconds: float) -> None:
        """Let this many lab seconds pass."""
        self._run(lambda: self.lab.sleep(seconds))

    def _run(self, work: Callable[[], Any]) -> Any:
        with no_loop():
            return self.lab.run(work())

    def close(self) -> None:
        self.lab.loop.close()


class Door(Remote):
    """The command line's own way to a lab, with a simulated one at its end.

    Within one connection a lab second passes before each further command, so that a command which
    waits for something sees it happen. Before each, ``Stage.at_look`` is called with its number.
    """

    def __init__(self, stage: Stage, folder: LabFolder, vcenter: str, user: str) -> None:
        super().__init__(folder, vcenter, user)
        self._stage, self._name = stage, folder.name
        self._looks = 0

    async def __aenter__(self) -> Door:
        self._lab()
        self._client = self  # type: ignore[assignment]
        return self

    def _lab(self) -> SimulatedLab:
        lab = self._stage.labs.get(self._name)
        if lab is None:
            raise KeysteadError("KS-LAB-001", f"there is no lab {self._name}")
        return lab

    async def _while_it_runs(self, work: Coroutine[Any, Any, A]) -> A:
        return await work

    async def follow(self, callback: Callable[[Any], None]) -> None:
        """Progress is shown on terminals only."""

    async def request(self, to: object, message: object, *, within_s: float) -> Any:
        """In the place of the control broker."""
        if isinstance(message, OpenFiles):
            return FilesOpen(public_key=self._lab().key.public)
        assert isinstance(message, RunCommand)
        self._looks += 1
        self._stage.at_look(self._looks)
        if self._looks > 1:
            self._lab().wait(1.0)
        return self._lab().serve(message)

    async def close(self) -> None:
        """The lab stays."""


class Stage:
    """What one transcript is played on: its labs, its files, its names.

    Lines with ``@`` are directions:

    ``lab TOPOLOGY [CHANGE=VALUE ...]``  a new simulated lab, ``default`` unless ``name=`` is given
    ``wait TIME``                        lab time that passes
    ``call NAME OF``                     NAME in a command is what was shown as OF
    ``file NAME TEXT``                   a file of one line
    ``certificate NAME``                 NAME.pem and NAME.key
    ``sign REQUEST CERTIFICATE``         what an authority issues for a signing request
    ``start ADDRESS COMMAND``            a server, which is found at ADDRESS
    ``stop``                             its end by Ctrl-C, with exit code 0
    ``copy FROM TO``                     a file under another name
    ``differs PATTERN``                  of what matches every number is told as 0
    ``type TEXT``                        standard input of the next command
    ``look N COMMAND``                   while the next command looks for the Nth time;
                                         ``interrupt`` in the place of a command ends it

    Besides ``keystead`` there are the commands ``cat`` and ``ls``, and ``page``, which tells the
    text of a page. ``HOME/`` is the state folder.
    """

    def __init__(self, home: Path, here: Path) -> None:
        self.home, self.here = home, here
        self.labs: dict[str, SimulatedLab] = {}
        self.names = Names()
        self._looks: dict[int, str] = {}
        self._typed = ""
        self._differs: list[re.Pattern[str]] = []
        self._before = Before()
        self._server: subprocess.Popen[str] | None = None

    def played(self, text: str) -> str:
        """The whole transcript, as it is now."""
        rows: list[str] = []
        for line in read(text):
            match line.kind:
                case "$":
                    said = self._said(self.names.real(line.text))
                    rows += written(line, self._told(said, line.text))
                case "@":
                    self._direct(line.text)
                    rows += written(line)
                case _:
                    rows += written(line)
        return "\n".join(rows).rstrip("\n") + "\n"

    def way(self, folder: LabFolder, vcenter: str = "", user: str = "") -> Remote:
        """In the place of ``lab.local.remote.Remote``."""
        return Door(self, folder, vcenter, user)

    def lab_time(self) -> float:
        """Virtual seconds of the first lab, as a command line's own clock shows them here."""
        first = self.labs.get("default")
        return time.monotonic() if first is None else first.lab.monotonic()

    def close(self) -> None:
        for lab in self.labs.values():
            lab.close()
        if self._server is not None:
            self._server.kill()
            self._server.communicate()

    # ---- directions ---------------------------------------------------------------------------

    def _direct(self, text: str) -> None:
        word, _, rest = text.partition(" ")
        first, _, more = rest.partition(" ")
        match word:
            case "lab":
                self._begin(*shlex.split(rest))
            case "wait":
                self.labs["default"].wait(duration("wait", rest))
            case "call":
                self.names.alias(first, more)
            case "file":
                (self.here / first).write_text(more + "\n")
            case "certificate":
                certificate(self.here, rest)
            case "sign":
                sign(self.here / first, self.here / more)
            case "start":
                self._start(first, more)
            case "stop":
                self._stop()
            case "copy":
                (self.here / more).write_bytes((self.here / first).read_bytes())
            case "differs":
                self._differs.append(re.compile(rest))
            case "type":
                self._typed = rest + "\n"
            case "look":
                self._looks[int(first)] = more
            case _:
                raise ValueError(f"@ {text}: there is no such direction")

    def _begin(self, topology: str, *changes: str) -> None:
        parts = (change.partition("=") for change in changes)
        given = {name: yaml.safe_load(value) for name, _, value in parts}
        name = given.pop("name", "default")
        if name in self.labs:
            self.labs.pop(name).close()
        made = self.labs[name] = SimulatedLab(topology, given)
        self.names.epoch = made.lab.loop.epoch

    def at_look(self, number: int) -> None:
        """What is to happen before a connection's ``number``-th command."""
        line = self._looks.pop(number, None)
        if line == "interrupt":
            raise KeyboardInterrupt
        if line is not None:
            with no_loop():
                done = self._run(self.names.real(line))
            assert done.code == 0, (line, done)

    def _start(self, address: str, line: str) -> None:
        """Until it has told where it serves."""
        cli = Cli(self.home, NO_COLOR="1", COLUMNS="100")
        self._server = cli.begin(*shlex.split(line)[1:], folder=self.here)
        assert self._server.stdout is not None
        heard = self._server.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", heard)
        assert found is not None, (heard, self._server.communicate(timeout=10))
        self.names.place(found[0], address)

    def _stop(self) -> None:
        assert self._server is not None
        self._server.send_signal(signal.SIGINT)
        _, err = self._server.communicate(timeout=30)
        assert self._server.returncode == 0, err
        self._server = None

    # ---- commands -----------------------------------------------------------------------------

    def _said(self, line: str) -> Said:
        match shlex.split(line):
            case ["keystead", *_, ">", file]:
                said = self._run(line.rpartition(">")[0])
                (self.here / file).write_text(said.out)
                return replace(said, out="")
            case ["keystead", *_]:
                return self._run(line)
            case ["cat" | "ls" | "page" as program, name]:
                try:
                    return Said(0, READ[program](Path(name.replace("HOME", str(self.home)))))
                except OSError as error:
                    return Said(1, "", f"{program}: {name}: {error.strerror}")
            case _:
                raise ValueError(f"$ {line}: there is no such program here")

    def _run(self, line: str) -> Said:
        out, err = io.StringIO(), io.StringIO()
        typed, self._typed = io.StringIO(self._typed), ""
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "stdin", typed)
            try:
                code = run(shlex.split(line)[1:])
            except KeyboardInterrupt:  # as ``main`` tells it
                code = 130
                err.write("\nkeystead: interrupted\n")
            except SystemExit as left:
                code = int(left.code or 0)
        said = Said(code, out.getvalue(), err.getvalue())
        assert "KS-INT-" not in said.err, said.err
        return said

    def _told(self, said: Said, line: str) -> Said:
        document = document_in(said.out)
        if document is None:
            shown = self._before.show_text(self._plain(said.out), line)
        else:
            shown = self._before.show_document(json.loads(self._plain(as_printed(document))))
        return Said(said.code, shown, without_usual_fix(self._plain(said.err)))

    def _plain(self, text: str) -> str:
        """Without this machine's folders; a column is as wide as what it has, so spaces go too."""
        short = text
        for place, name in ((self.here, "HERE"), (self.home, "HOME"), (ROOT, "ROOT")):
            short = short.replace(str(place), name)
        told, changed = self.names.told(short), short != text
        for pattern in self._differs:
            told, times = pattern.subn(lambda match: _NUMBER.sub("0", match[0]), told)
            changed = changed or times > 0
        return _PADDING.sub("  ", told) if changed else told


def _contents(file: Path) -> str:
    text = file.read_text()
    if file.suffix == ".json":  # stored without any space
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    return text


READ: dict[str, Callable[[Path], str]] = {
    "cat": _contents,
    "ls": lambda folder: "".join(f"{path.name}\n" for path in sorted(folder.iterdir())),
    "page": lambda file: text_of(file.read_text()),
}


_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?")
_PADDING = re.compile(r"(?<=\S) {3,}")
