"""Machines: power, keys that were removed there, core dumps, the console, the TPM."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lab.schema.answers.base import Answer, KeyRef, MachineState
from lab.schema.tables import ColumnTable, field, moment
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName


class HostPower(msgspec.Struct, frozen=True, kw_only=True):
    """A node's machine now: ``ended`` says how its last life ended, ``screen`` why it halted and
    ``cure`` what to do about that."""

    host: NodeName
    machine: MachineState
    boot: int
    screen: str = ""
    ended: str = ""
    cure: str = ""

    table = ColumnTable(
        "host", (field("host"), field("machine"), field("boot"), field("ended"), field("screen"))
    )


class HostPowerList(Answer, frozen=True, kw_only=True):
    """Every node that was meant, after the command."""

    items: tuple[HostPower, ...]

    @property
    def halted(self) -> tuple[HostPower, ...]:
        """Those that show a purple screen: nothing that was to run does."""
        return tuple(host for host in self.items if host.machine is MachineState.HALTED)

    def errors(self, of_lab: str) -> tuple[str, ...]:
        halted = self.halted
        told = [f"keystead: error KS-PRODUCT-001: {one.host} shows: {one.screen}" for one in halted]
        return (*told, f"  fix: {halted[0].cure}") if halted else ()

    @property
    def exit_code(self) -> int:
        return 1 if self.halted else 0


class HostPaused(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a node stands still."""

    host: NodeName
    paused: bool

    table = ColumnTable("host", (field("host"), field("paused")))


class HostPauseList(Answer, frozen=True, kw_only=True):
    """Every node that was meant, after the command."""

    items: tuple[HostPaused, ...]


class RemovedKey(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a key left the host's cache, and if not why; ``stored``: it is in the store still."""

    key: KeyRef
    removed: bool
    reason: str = ""
    stored: bool = False

    table = ColumnTable("key", (field("key"), field("removed"), field("stored"), field("reason")))


class RemovedKeyList(Answer, frozen=True, kw_only=True):
    """Every key that was meant, in the order given."""

    host: NodeName
    items: tuple[RemovedKey, ...]

    @property
    def exit_code(self) -> int:
        return 0 if all(key.removed for key in self.items) else 1


class Dump(Answer, frozen=True, kw_only=True):
    """A core dump on a host's disk; ``key`` is the host key that it is under, None: in clear.

    ``boot`` and ``at`` (Unix seconds of the host's clock) say which life of the host wrote it.
    ``readable``: its key is in the host's memory now. ``problem``: its file is damaged.
    """

    host: NodeName
    dump: str
    boot: int
    at: float
    key: KeyRef | None = None
    readable: bool = False
    problem: str = ""

    table = ColumnTable(
        "dump",
        (
            field("dump"),
            field("boot"),
            ("TIME", lambda dump: moment(dump.at)),
            ("KEY", lambda dump: dump.problem or dump.key or "in clear"),
            field("readable"),
        ),
    )


class DumpList(Answer, frozen=True, kw_only=True):
    """The core dumps of a host, by name."""

    items: tuple[Dump, ...]


class DumpContent(Answer, frozen=True, kw_only=True):
    """What is in a core dump: lines of text about the host, and the marker of who had it written.

    ``key`` is the host key that it is under, None: it lies there in clear.
    """

    host: NodeName
    dump: str
    key: KeyRef | None
    content: bytes


class EsxcliResult(Answer, frozen=True, kw_only=True):
    """What the console printed; ``exit_code`` other than 0: the command failed."""

    exit_code: int
    output: str


class TpmState(StrEnum):
    """``none``: the host has no TPM. ``failed``: it answers nothing but its failure.

    ``unknown``: the host's process does not answer.
    """

    NONE = "none"
    OFF = "off"
    ON = "on"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Tpm(Answer, frozen=True, kw_only=True):
    """The TPM under a host, as it tells itself; what it does not tell is None.

    ``reset_count`` counts power cycles since the last clear, ``restart_count`` resumes since the
    last reset, ``clock`` is milliseconds of powered time, None of a real TPM in a simulation,
    which counts real time. ``safe`` is False after a power cycle without TPM2_Shutdown.
    ``lockout``: after ``max_tries`` failed authorizations it refuses more.
    ``ek`` is the SHA-256 of the endorsement key: another one is another TPM. ``pcrs`` are PCR 0
    to 13, in hexadecimal.
    """

    host: NodeName
    backend: TpmBackend
    failed: bool | None = None
    reset_count: int | None = None
    restart_count: int | None = None
    clock: int | None = None
    safe: bool | None = None
    lockout_counter: int | None = None
    max_tries: int | None = None
    lockout: bool | None = None
    state: TpmState
    ek: str = ""
    pcrs: dict[str, str] = {}

    table = ColumnTable(
        "host",
        (
            field("host"),
            field("backend"),
            field("state"),
            field("reset_count", "RESETS"),
            field("safe"),
            field("lockout"),
            ("EK", lambda tpm: tpm.ek[:16]),
        ),
        wide=(("PCR 7", lambda tpm: tpm.pcrs.get("7", "")),),
    )


class TpmList(Answer, frozen=True, kw_only=True):
    """The TPM under each host."""

    items: tuple[Tpm, ...]


class Pcrs(Answer, frozen=True, kw_only=True):
    """PCR 0 to 13 of a host's TPM, in hexadecimal; empty while it is off."""

    host: NodeName
    pcrs: dict[str, str]
