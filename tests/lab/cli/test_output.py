"""Tables, JSON, YAML and names from canned answers of commands: what people and scripts read."""

from __future__ import annotations

import io
import json
import shlex
import signal
import sys
from typing import Any, TypeVar

import msgspec
import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from lab.cli.main import run
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import as_typed, plain, say, table
from lab.cli.running import journal
from lab.schema import commands as c
from lab.schema.answers import LoggedEvent, LogLine
from lab.schema.tables import field, text
from protocol.events import EventTypeId
from protocol.terms import NodeName

A = TypeVar("A")
KEY = "kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001"
VM = {
    "vm": "vm-01",
    "cluster": "cluster-a",
    "host": "esxi-001",
    "power": "poweredOff",
    "connection": "invalid",
    "crypto": "locked",
    "key": KEY,
    "missing": [KEY],
    "lock_event": "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError",
    "alarms": ["Virtual Machine Locked Alarm"],
    "stale": False,
}
PLAIN = {
    **VM,
    "vm": "vm-02",
    "power": "poweredOn",
    "crypto": None,
    "key": None,
    "missing": [],
    "connection": "connected",
    "lock_event": None,
    "alarms": [],
    "stale": True,
}
HOST = {
    "host": "esxi-001",
    "cluster": "cluster-a",
    "connection": "notResponding",
    "crypto_state": "safe",
    "crypto_key_id": KEY,
    "version": "8.0U3",
    "tpm_present": True,
    "key_persistence": True,
    "boot": 3,
    "cached_keys": 2,
    "attestation": {"time": 12.5, "status": "notAccepted", "message": "another TPM"},
    "stale": True,
    "machine": "halted",
    "screen": "Unable to restore system configuration.",
}
FAULT = {
    "id": "tpm-clear-1",
    "kind": "tpm.clear",
    "summary": "clear the TPM of esxi-001",
    "since": 12.5,
    "until": 0.0,
    "state": "stays",
    "seen": "it has no undo; see its cure",
    "cure": "boot with the recovery key",
}
CUT = {
    **FAULT,
    "id": "link-cut-1",
    "kind": "link.cut",
    "summary": "cut vcenter <-> kms",
    "state": "active",
    "until": 42.5,
    "seen": "",
    "cure": "",
}
CANNED: dict[type[c.Command[Any]], dict[str, Any]] = {
    c.GetVms: {"items": [VM, PLAIN]},
    c.GetHosts: {"items": [HOST]},
    c.GetKms: {
        "items": [{"kms": "kms", "machine": "running", "keys": 3, "states": {"Active": 3}}],
    },
    c.GetLinks: {
        "items": [
            {
                "link": "vcenter->kms",
                "src": "vcenter",
                "dst": "kms",
                "state": "cut",
                "rules": [{"kind": "cut", "id": "x"}],
            },
            {
                "link": "kms->vcenter",
                "src": "kms",
                "dst": "vcenter",
                "state": "up",
            },
        ],
    },
    c.GetFaults: {"items": [CUT, FAULT]},
    c.TpmClear: {"fault": FAULT},
    c.TpmInspect: {
        "host": "esxi-001",
        "backend": "libtpms",
        "state": "on",
        "reset_count": 7,
        "safe": False,
        "lockout_counter": 2,
        "max_tries": 32,
        "ek": "5a5a",
        "pcrs": {"0": "00ff", "7": "77ff"},
    },
    c.Heal: {
        "healed": ["link-cut-1"],
        "left": [
            {
                "id": "tpm-clear-1",
                "kind": "tpm.clear",
                "reversible": False,
                "seen": "",
                "cure": "boot with the recovery key",
            }
        ],
    },
    c.VmOn: {
        "wanted": "poweredOn",
        "items": [
            {
                "vm": "vm-01",
                "host": "esxi-001",
                "power": None,
                "error_id": "KS-PRODUCT-001",
                "error": f"EncryptionKeyRequired: keys are missing (keys: {KEY})",
            },
            {"vm": "vm-02", "host": "esxi-001", "power": "poweredOn"},
        ],
    },
    c.HostReboot: {
        "items": [
            {
                "host": "esxi-001",
                "machine": "halted",
                "boot": 4,
                "screen": "Unable to restore system configuration.",
                "ended": "",
                "cure": "keystead describe host esxi-001 says why, and what cures it",
            }
        ],
    },
    c.Esx: {"exit_code": 0, "output": "   Enabled: true\n"},
    c.DescribeVm: {
        "vm": "vm-01",
        "host": "esxi-001",
        "vcenter": VM,
        "host_view": {
            "vm": "vm-01",
            "power": "poweredOff",
            "crypto": "locked",
            "wanted": "poweredOn",
        },
        "keys": [{"key": KEY, "state": "Active", "stored": False}],
        "reasons": [
            {
                "why": "The key cache of esxi-001 ended with its reboot.",
                "rule": "STD-13",
                "cure": "",
            },
            {
                "why": "The link to the key server is cut.",
                "rule": "LOCK-01",
                "cure": "keystead heal --all",
            },
        ],
        "events": [
            {
                "sequence": 7,
                "at": 1.5,
                "event": "com.vmware.vc.vm.Crypto.VMUnlocked",
                "text": "locked",
            }
        ],
        "faults": ["cut vcenter <-> kms"],
    },
    c.GetStatus: {
        "name": "default",
        "mode": "lab",
        "pace": 30.0,
        "lab_time": 12.5,
        "nodes": {"running": 5},
        "faults": [],
        "tpms": {"libtpms": 3},
        "vcenter": "running",
        "vms": {"on": 6, "off": 0, "locked": 0},
        "folder": "HOME/labs/default",
        "supervisor": 4711,
        "pids": [{"pid": 4711, "name": "keystead-supervisor"}],
    },
}


def answer(kind: type[c.Command[A]], plain: dict[str, Any]) -> A:
    return msgspec.convert(plain, c.answer_type(kind))


ANSWERS: dict[str, Any] = {c.name_of(kind): answer(kind, plain) for kind, plain in CANNED.items()}


@pytest.fixture(autouse=True)
def canned(monkeypatch: pytest.MonkeyPatch, here: object) -> None:
    """A lab that gives the same answers always."""

    def call(options: Options, command: c.Command[Any]) -> Any:
        return ANSWERS[c.name_of(command)]

    for module in ("results", "running.labs"):
        monkeypatch.setattr(f"lab.cli.{module}.call", call)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("get vms", 0),
        ("get vms -o wide", 0),
        ("get vms -o json", 0),
        ("get vms -o yaml", 0),
        ("get vms -o name", 0),
        ("get hosts", 0),
        ("get hosts -o wide", 0),
        ("get kms", 0),
        ("get links", 0),
        ("get links -o name", 0),
        ("get faults", 0),
        ("get faults -o wide", 0),
        ("tpm clear esxi-001", 0),
        ("heal --all", 0),
        ("heal --all -o json", 0),
        ("vm on vm-01 vm-02", 1),
        ("vm on vm-01 vm-02 -o json", 1),
        ("host reboot esxi-001", 1),
        ("esx esxi-001 system security keypersistence get", 0),
        ("describe vm vm-01", 0),
        ("describe vm vm-01 -o name", 0),
        ("explain KS-LAB-006", 0),
        ("status", 0),
    ],
)
def test_what_is_printed(
    line: str, code: int, capsys: pytest.CaptureFixture[str], snapshot: SnapshotAssertion, here: Any
) -> None:
    assert run(shlex.split(line)) == code
    out, err = capsys.readouterr()
    assert (out.replace(str(here), "HOME"), err) == snapshot


def test_a_tpm_tells_all_of_itself_but_the_pcrs_that_have_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["tpm", "inspect", "esxi-001"]) == 0
    told = {line.split()[-1] for line in capsys.readouterr().out.splitlines()}
    assert {"esxi-001", "libtpms", "on", "7", "no", "2", "32", "5a5a"} <= told
    assert not {word for word in told if "00ff" in word or "77ff" in word}


@pytest.mark.parametrize(
    "line", ["get vms", "get hosts", "get faults", "heal --all", "vm on vm-01"]
)
def test_documents_have_a_version_and_a_kind(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([*shlex.split(line), "-o", "json"])
    from_json = json.loads(capsys.readouterr().out)
    run([*shlex.split(line), "-o", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out) == from_json
    assert from_json["apiVersion"] == "keystead/v1" and from_json["kind"]


def test_the_environment_chooses_format_and_lab(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def call(options: Options, command: c.Command[Any]) -> Any:
        asked.append(options.name)
        return ANSWERS[c.name_of(command)]

    monkeypatch.setattr("lab.cli.results.call", call)
    monkeypatch.setenv("KEYSTEAD_OUTPUT", "name")
    monkeypatch.setenv("KEYSTEAD_NAME", "second")
    assert run(["get", "vms"]) == 0 and run(["get", "vms", "--name", "third", "-o", "json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("vm-01\nvm-02\n{") and asked == ["second", "third"]


def test_a_table_into_a_pipe_has_one_line_for_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {**VM, "missing": [f"p/{n}" for n in range(300)]}
    monkeypatch.setitem(ANSWERS, c.name_of(c.GetVms), answer(c.GetVms, {"items": [long, PLAIN]}))
    assert run(["get", "vms"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_brackets_in_texts_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {**VM, "vm": "vm[red]01[/red]", "host": "[link]"}
    monkeypatch.setitem(ANSWERS, c.name_of(c.GetVms), answer(c.GetVms, {"items": [odd]}))
    assert run(["get", "vms"]) == 0
    assert "vm[red]01[/red]  [link]" in capsys.readouterr().out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("NO_COLOR", False)])
def test_colour_is_for_terminals_and_can_be_turned_off(
    variable: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    if variable:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    assert run(["get", "vms"]) == 0
    assert ("\x1b[1m" in terminal.getvalue()) is coloured
    assert "vm-01" in terminal.getvalue()


EVENTS: list[Any] = [
    {"event": "com.vmware.vc.kms.crypto.Unreachable", "text": "The key server cannot be reached"}
]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (80, ["com.vmware.vc.kms.crypto.Unreachable  The key server cannot be reached"]),
        (64, ["com.vmware.vc.kms.crypto.Unreachable  The key server cannot be", "reached"]),
        (60, ["com.vmware.vc.kms.crypto.Unreachable  The key server cannot be reached"]),
    ],
    ids=["room enough", "prose is folded", "too little for that"],
)
def test_on_a_narrow_terminal_names_stay_whole(
    monkeypatch: pytest.MonkeyPatch, width: int, lines: list[str]
) -> None:
    """An event's id is looked for and copied; the terminal breaks what is longer than it is."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    table((field("event"), field("text")), EVENTS)
    assert [line.strip() for line in terminal.getvalue().splitlines()[1:]] == lines


def test_cells() -> None:
    values = [None, "", True, False, 1.5, [], [1, None], {}, {"a": True}, 0]
    assert [text(v) for v in values] == [
        "-", "-", "yes", "no", "1.5", "-", "1,-", "-", "a=yes", "0",
    ]  # fmt: skip


def test_an_interrupt_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lab.cli.main import main

    def call(options: Options, command: c.Command[Any]) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("lab.cli.results.call", call)
    monkeypatch.setattr(sys, "argv", ["keystead", "get", "vms"])
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as raised:
            main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert raised.value.code == 130
    assert capsys.readouterr().err == "\nkeystead: interrupted\n"


def test_commands_to_try_are_written_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYSTEAD_COMMAND", raising=False)
    assert as_typed("keystead get vms") == "keystead get vms"
    monkeypatch.setenv("KEYSTEAD_COMMAND", "./keystead")
    assert as_typed("keystead get vms --name keystead") == "./keystead get vms --name keystead"


def test_what_a_terminal_would_obey_is_escaped_in_results_and_messages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain("esxi-\x1b[2J\n")
    say("vm-\x1b]0;x\x07")
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\x07" not in err
    assert out.startswith("esxi-") and out.endswith("[2J\n") and err.startswith("vm-")


def test_a_record_of_a_log_and_an_event_are_a_line_each(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody writes a record of his own by what he has written into another one."""
    false = "gone\n   1.000 error   kms        node.ended\t1"
    journal._show_lines(
        [
            LogLine(
                at=1.0, node=NodeName("kms"), boot=1, level="info", what="a", fields={"b": false}
            )
        ],
        DEFAULTS,
    )
    event = LoggedEvent(
        sequence=1, at=1.0, event=EventTypeId.VM_LOCKED_KEY_MISSING_ON_KMS, text=false
    )
    journal._show_events([event], DEFAULTS, follow=True)
    assert [line.count("node.ended") for line in capsys.readouterr().out.splitlines()] == [1, 1]
