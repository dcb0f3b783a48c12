"""Each probe of the doctor against a thing that is really broken: what it says, what it advises."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.brokers.program import OVERRIDE, probe
from lab.cli.main import run
from lab.doctor import probes
from lab.doctor import probes as doctor
from lab.doctor.probes import DoctorFinding, DoctorHealth
from lab.state.state_folder import LabFolder, LabRecord
from services.runtime.forking.packets import MARK
from tests.lab.cli.conftest import until


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def bad(
    finding: DoctorFinding, said: str, fix: str, health: DoctorHealth = DoctorHealth.PROBLEM
) -> None:
    assert finding.health is health, finding
    assert said in finding.text and fix in finding.fix, finding
    assert "\n" not in finding.text + finding.fix, "one line, one fix"


# A healthy machine -------------------------------------------------------------------------


@pytest.fixture
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of this machine are those that this one has started; its memory is enough."""
    me, processes = psutil.Process(), psutil.process_iter

    def mine(attributes: list[str]) -> Iterator[psutil.Process]:
        pids = {child.pid for child in me.children(recursive=True)}
        return (one for one in processes(attributes) if one.pid in pids)

    monkeypatch.setattr(psutil, "process_iter", mine)
    monkeypatch.setattr(probes, "free_mib", lambda: 64 << 10)


@pytest.mark.lab
@pytest.mark.tpm
def test_here_all_is_well(nobody_else: None, capsys: pytest.CaptureFixture[str]) -> None:
    findings = doctor.examine("nobody", 3)
    assert [f for f in findings if f.health is not DoctorHealth.OK or f.fix] == []
    assert run(["doctor", "-o", "json"]) == 0
    assert '"kind": "DoctorReport"' in capsys.readouterr().out


def test_a_problem_ends_with_78_and_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [
        DoctorFinding("one", DoctorHealth.OK, "fine"),
        DoctorFinding("two", DoctorHealth.PROBLEM, "bad", "do this"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda name, hosts, pack, pace: found)
    assert run(["doctor"]) == 78
    out, err = capsys.readouterr()
    assert "two    problem  bad" in out and err == "fix for two: do this\n"
    found[1] = DoctorFinding("two", DoctorHealth.NOTE, "odd", "maybe this")
    assert run(["doctor"]) == 0


# Broken things -----------------------------------------------------------------------------


def test_no_nats_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OVERRIDE, "/bin/false")
    bad(doctor.nats_server(), "/bin/false", "./keystead setup")
    bad(doctor.broker(), "/bin/false", "./keystead setup")


def test_an_old_nats_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "nats-server"
    old.write_text("#!/bin/sh\necho nats-server: v2.9.1\n")
    old.chmod(0o755)
    monkeypatch.setenv(OVERRIDE, str(old))
    bad(doctor.nats_server(), "older than 2.10", "./keystead setup")


def test_a_server_that_starts_and_does_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lame = tmp_path / "nats-server"
    lame.write_text(
        '#!/bin/sh\ncase "$1" in --version) echo nats-server: v2.11.0 ;; *) exit 3 ;; esac\n'
    )
    lame.chmod(0o755)
    probe.cache_clear()
    monkeypatch.setenv(OVERRIDE, str(lame))
    assert doctor.nats_server().health is DoctorHealth.OK
    bad(doctor.broker(), "did not start", "log")


def test_no_tpm_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.runtime.tpm import library

    def missing() -> Path:
        raise library.LibraryMissing("libtpms.so.0 cannot be loaded")

    monkeypatch.setattr(library, "library_path", missing)
    bad(doctor.tpm(), "libtpms.so.0", "up --tpm none")


@pytest.mark.tpm
def test_a_tpm_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from protocol.tpm.errors import TpmError, TpmErrorKind
    from services.runtime.tpm import backends

    def failed() -> bytes:
        raise TpmError(0x101, "TPM_RC_FAILURE", TpmErrorKind.FAILURE)

    monkeypatch.setattr(backends, "probe_libtpms", failed)
    bad(doctor.tpm(), "does not work", "up --tpm none")


@pytest.fixture
def binding_missing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As before set-up: tpm2-pytss is still to be compiled."""
    from services.runtime.tpm import backends

    monkeypatch.setattr(backends, "missing_for_libtpms", lambda: "tpm2-pytss is not there")
    yield


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, binding_missing: None) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    bad(doctor.headers(), "no C compiler", "apt-get install gcc")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a compiler that works")
@pytest.mark.parametrize(
    ("missing", "health"),
    [("tpm2-pytss is not there", DoctorHealth.PROBLEM), ("", DoctorHealth.NOTE)],
    ids=["to be compiled", "once compiled"],
)
def test_no_headers(
    missing: str, health: DoctorHealth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sysconfig

    from services.runtime.tpm import backends

    paths = {**sysconfig.get_paths(), "include": str(tmp_path)}
    monkeypatch.setattr(sysconfig, "get_paths", lambda: paths)
    monkeypatch.setattr(backends, "missing_for_libtpms", lambda: missing)
    monkeypatch.delenv("CPATH", raising=False)
    bad(doctor.headers(), "Python.h", "python3-dev", health)


def test_once_compiled_a_missing_compiler_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.runtime.tpm import backends

    monkeypatch.setattr(backends, "missing_for_libtpms", lambda: "")
    monkeypatch.setenv("PATH", "/nonexistent")
    bad(doctor.headers(), "no C compiler", "apt-get", DoctorHealth.NOTE)


def test_no_descriptor_for_a_port() -> None:
    code = (
        "import resource\nfrom lab.doctor.probes import port\n"
        f"resource.setrlimit({resource.RLIMIT_NOFILE}, (3, 3))\nprint(port())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "DoctorHealth.PROBLEM" in ran.stdout and "127.0.0.1" in ran.stdout
    assert "ulimit" in ran.stdout


NAMESPACE = ["unshare", "--map-root-user", "--net"]


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode != 0,
    reason="no network namespace can be made here",
)
def test_no_loopback() -> None:
    """In a new network namespace the loopback interface is down."""
    code = "from lab.doctor.probes import port\nprint(port())"
    ran = subprocess.run(
        [*NAMESPACE, sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "DoctorHealth.PROBLEM" in ran.stdout and "ip link set lo up" in ran.stdout


def test_a_state_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    for where in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(where))
        bad(doctor.state_folder(), str(where), "KEYSTEAD_STATE_HOME")


def test_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    bad(doctor.state_folder(), "only 5 MiB", "free space")


def test_a_lab_of_that_name(home: Path) -> None:
    assert "is free" in doctor.same_name("one").text
    folder = LabFolder("one")
    folder.make()
    folder.write("lab.json", b'{"layout": 0}')
    bad(doctor.same_name("one"), "layout 0", "down --purge")
    folder.save(LabRecord(name="one", file={"clusters": []}, seed=1, wall=0.0))
    assert "is stopped" in doctor.same_name("one").text
    folder.write("supervisor", b"1")
    bad(doctor.same_name("one"), "was killed", "keystead up --name one", DoctorHealth.NOTE)


@pytest.mark.parametrize("words", [[MARK, "7", "1"], ["nats-server"]])
def test_processes_that_were_left_behind(words: list[str], home: Path) -> None:
    """What looks like a lab's process and has no supervisor above it."""
    command = [sys.executable, "-c", "input()", *words]
    if words[0] == "nats-server":
        config = home / "labs" / "one" / "broker-data" / "nats.conf"
        command = ["bash", "-c", f"exec -a nats-server bash -c 'read line' x {config}"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        assert until(lambda: doctor.stale_processes().health is DoctorHealth.PROBLEM, 5)
        bad(doctor.stale_processes(), str(child.pid), f"kill {child.pid}")
    finally:
        child.communicate(b"\n")


@pytest.mark.parametrize("owner", [["me"], [], ["nobody"]], ids=["its own", "unsaid", "odd"])
def test_a_process_under_its_owner_was_not_left_behind(owner: list[str], nobody_else: None) -> None:
    """Nor was one that does not say who its owner is."""
    words = [MARK, "7", *(str(os.getpid()) if one == "me" else one for one in owner)]
    child = subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE)
    try:
        shown = Path(f"/proc/{child.pid}/cmdline")
        assert until(lambda: MARK.encode() in shown.read_bytes(), 5)
        assert doctor.stale_processes().health is DoctorHealth.OK
    finally:
        child.communicate(b"\n")


@pytest.mark.parametrize(
    ("flags", "prefix", "said"),
    [
        ("'--enable-optimizations' '--with-lto'", "/opt/python", "with PGO and LTO"),
        ("'--enable-optimizations'", "/opt/python", "without PGO and LTO"),
        ("'--enable-shared'", "/usr", "with PGO and LTO"),  # Debian's
    ],
)
def test_it_says_which_python_of_which_build_is_used(
    flags: str, prefix: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_config_var", {"CONFIG_ARGS": flags}.get)
    monkeypatch.setattr(sys, "base_prefix", prefix)
    found = doctor.python()
    assert found.health is DoctorHealth.OK and f"built {said}" in found.text
    assert sys._base_executable in found.text  # type: ignore[attr-defined]
