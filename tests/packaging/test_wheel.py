"""The wheel, in an empty environment without the checkout, plays what the documents show.

Everything runs from ``/`` and, where the tests are root, as a user without any right. The
environments have no tpm2-pytss: a compiler is no condition for keystead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from tests.tidy.tree import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.lab, pytest.mark.timeout(600)]

_UV = str(Path(sys.executable).with_name("uv"))
_QUIET: dict[str, Any] = {"capture_output": True, "text": True}
_NOBODY = 65534
_VERSIONS = ("3.11", "3.12", "3.13")
_HOSTILE = ("lab", "services", "chaos", "protocol")
"""Folders of somebody else's project."""


def _find_interpreter(version: str) -> str | None:
    """The system's own, which every user may run, or any other that uv knows of."""
    find = [_UV, "python", "find", "--no-python-downloads", "--system", version]
    known = [f"/usr/bin/python{version}", subprocess.run(find, **_QUIET).stdout.strip()]
    return next((name for name in known if name and Path(name).exists()), None)


def _unprivileged(interpreter: str) -> dict[str, Any]:
    """How a process of another user than root is started; nothing where this is none, or where the
    interpreter lies in a folder that root keeps closed."""
    user: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": ()}
    if os.getuid() != 0:
        return {}
    try:
        subprocess.run([interpreter, "-c", ""], check=True, **user)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return user


def _index() -> dict[str, str]:
    """This process's environment, with pip's index for uv too."""
    index = os.environ.get("PIP_INDEX_URL", "")
    return {**os.environ, **({"UV_DEFAULT_INDEX": index} if index else {})}


@dataclass
class Installed:
    """keystead in an environment of its own."""

    folder: Path
    user: dict[str, Any]

    def __post_init__(self) -> None:
        self.state.mkdir()
        if self.user:
            shutil.chown(self.state, self.user["user"], self.user["group"])

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def python(self) -> Path:
        return self.folder / "env" / "bin" / "python"

    @property
    def env(self) -> dict[str, str]:
        here = str(self.state)
        return {"PATH": "/usr/bin:/bin", "HOME": here, "KEYSTEAD_STATE_HOME": here, "TERM": "dumb"}

    def install(self, *packages: str) -> None:
        """More packages for this environment."""
        install = [_UV, "pip", "install", "--python", str(self.python), *packages]
        ran = subprocess.run(install, env=_index(), **_QUIET)
        assert ran.returncode == 0, ran.stderr

    def start(self, *words: str) -> subprocess.Popen[str]:
        program = str(self.python.with_name("keystead"))
        return subprocess.Popen(
            [program, *words],
            cwd="/",
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **self.user,
        )

    def run(self, line: str, code: int = 0) -> str:
        """What a command line printed; both streams where it fails."""
        with self.start(*line.split()) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == code, f"{line}: {process.returncode}\n{out}{err}"
        return out + err if code else out


@pytest.fixture(scope="module")
def wheel() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        command = [_UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable]
        subprocess.run([*command, "-o", folder, str(ROOT)], check=True, capture_output=True)
        [made] = Path(folder).glob("*.whl")
        yield made


@pytest.fixture(scope="module", params=_VERSIONS)
def installed(request: pytest.FixtureRequest, wheel: Path) -> Iterator[Installed]:
    interpreter = _find_interpreter(request.param)
    if interpreter is None:
        pytest.skip(f"there is no Python {request.param} here")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        made = [_UV, "venv", "--python", interpreter, str(folder / "env")]
        subprocess.run(made, check=True, capture_output=True)
        python = str(folder / "env" / "bin" / "python")
        made_ready = Installed(folder, _unprivileged(python))
        made_ready.install(
            "--compile-bytecode", "--constraint", str(ROOT / "requirements.lock"), str(wheel)
        )
        yield made_ready


def test_the_environment_gets_one_name(installed: Installed) -> None:
    [site] = (installed.folder / "env" / "lib").glob("*/site-packages")
    assert (site / "keystead" / "_rooms" / "lab").is_dir()
    assert not [name for name in (*_HOSTILE, "tests", "benchmarks") if (site / name).exists()]
    assert not (site / "tpm2_pytss").exists()


def test_real_tpms_and_the_vsphere_api_are_extras(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        [name] = [one for one in opened.namelist() if one.endswith(".dist-info/METADATA")]
        told = opened.read(name).decode()
    for package, extra in (("tpm2-pytss", "tpm"), ("pyvmomi", "vsphere"), ("pytest", "dev")):
        lines = re.findall(rf"^Requires-Dist: {package}\b.*", told, re.MULTILINE)
        assert lines and all(f"extra == '{extra}'" in line for line in lines), lines


@pytest.mark.parametrize("tool", ["uvx", "pipx"])
def test_tools_that_make_their_own_environment_run_it(
    tool: str, wheel: Path, tmp_path: Path
) -> None:
    env = {**_index(), "HOME": str(tmp_path), "PIPX_HOME": str(tmp_path / "pipx")}
    env["UV_TOOL_DIR"] = str(tmp_path / "tools")
    lock = str(ROOT / "requirements.lock")
    words = ["--from", str(wheel), "--constraints", lock, "keystead"]
    if tool == "pipx":
        words = ["pipx", "run", "--python", sys.executable, "--spec", str(wheel), "keystead"]
    command = [_UV, "tool", "run", *words, "explain", "LOCK-01"]
    ran = subprocess.run(command, cwd="/", env=env, **_QUIET)
    assert "Locked takes two failures" in ran.stdout, ran.stderr


def test_a_project_with_folders_of_the_same_names_works(installed: Installed) -> None:
    project = installed.state / "project"
    for name in _HOSTILE:
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text("raise SystemExit('not ours')")
    own = "import keystead, importlib.util as u; print(u.find_spec('lab').origin)"
    command = [str(installed.python), "-c", own]
    ran = subprocess.run(command, cwd=project, env=installed.env, **_QUIET)
    assert ran.stdout.strip() == str(project / "lab" / "__init__.py"), ran.stderr
    command = [str(installed.python), "-m", "keystead", "explain", "LOCK-01"]
    env = {**installed.env, "PYTHONPATH": str(project)}
    ran = subprocess.run(command, cwd=project, env=env, **_QUIET)
    assert "Locked takes two failures" in ran.stdout, ran.stderr


def test_up_says_in_a_sentence_what_is_missing(installed: Installed) -> None:
    said = installed.run("up", code=78)
    assert "KS-TPM-001: tpm2-pytss is not installed" in said or "libtpms" in said
    assert "pip install 'keystead[tpm]'" in said and "keystead up --tpm none" in said


def test_the_story(installed: Installed) -> None:
    try:
        installed.run("up --tpm none")
        installed.run("link cut vcenter kms")
        installed.run("host reboot esxi-001")
        installed.run("wait --for vm.locked=vm-01,vm-04")
        assert "LOCK-01" in installed.run("describe vm vm-01")
        installed.run("heal --all")
        installed.run("wait --for vm.locked=none --for host.safe=all")
        installed.run("vm on --host esxi-001")
        installed.run("wait --for vm.running=all")
    finally:
        installed.run("down --purge")


def test_an_experiment_and_its_report(installed: Installed) -> None:
    told = json.loads(installed.run("chaos run edge-outage-reboot --mode sim --seed 7 -o json"))
    assert told["verdict"] == "pass"
    page = installed.state / "report.html"
    installed.run(f"report {told['run']} -o {page}")
    assert "<html" in page.read_text()


def test_a_cell_of_the_matrix(installed: Installed) -> None:
    told = installed.run("matrix --block S11 --fault F1 --event E4")
    assert told.splitlines()[0].split() == ["S11", "E4"] and "✔" in told


def test_a_key_server_is_judged(installed: Installed) -> None:
    keys = installed.state / "keys"
    server = installed.start(
        "kmip", "serve", "--listen", "127.0.0.1:0", f"--folder={keys}", "-ojson"
    )
    try:
        assert server.stdout is not None
        said = iter(server.stdout.readline, "")
        address = json.loads("".join(takewhile(lambda line: line != "}\n", said)) + "}")["address"]
        tls = keys / "tls"
        files = f"--ca {tls}/ca.pem --cert {tls}/client.pem --key {tls}/client.key"
        told = installed.run(f"kmip replay --server {address} {files} --progress none --cleanup")
        assert "works" in told
    finally:
        server.terminate()
        server.communicate(timeout=30)


def test_the_sample_project_does_what_its_workflow_says(installed: Installed) -> None:
    project = installed.state / "sample"
    shutil.copytree(ROOT / "examples" / "pytest", project)
    workflow = yaml.safe_load((project / ".github" / "workflows" / "outages.yml").read_text())
    steps = workflow["jobs"]["outages"]["steps"]
    install, play = (step["run"] for step in steps if "run" in step)
    installed.install(*(word for word in install.split()[2:] if word != "keystead"))
    path = f"{installed.python.parent}:/usr/bin:/bin"
    env = {**installed.env, "PATH": path, "GITHUB_ACTIONS": "true"}
    if installed.user:
        shutil.chown(project, installed.user["user"], installed.user["group"])
    done = {"cwd": project, "env": env, **_QUIET, **installed.user}
    ran = subprocess.run(play, shell=True, **done)  # noqa: S602 - as the forge does
    assert "2 passed" in ran.stdout, ran.stdout + ran.stderr
    broken = (project / "test_outage.py").read_text().replace("LOCKED not in", "LOCKED in")
    (project / "test_outage.py").write_text(broken)
    ran = subprocess.run(play, shell=True, **done)  # noqa: S602
    assert "1 failed, 1 passed" in ran.stdout and "::error file=" in ran.stdout + ran.stderr
    kept = steps[-1]["with"]["path"].split()
    assert all((project / name).exists() for name in kept), kept


_EXPERIMENT = {
    "title": "The key server is away",
    "description": "A host that reboots without it has locked VMs",
    "configuration": {"keystead_file": "default", "keystead_seed": 7},
    "controls": [
        {
            "name": "keystead",
            "provider": {"type": "python", "module": "keystead.chaostoolkit"},
        }
    ],
    "method": [
        {
            "type": kind,
            "name": func,
            "provider": {
                "type": "python",
                "module": "keystead.chaostoolkit",
                "func": func,
                "arguments": arguments,
            },
        }
        for kind, func, arguments in (
            ("action", "cut", {"a": "vcenter", "b": "kms"}),
            ("action", "reboot", {"hosts": ["esxi-001"]}),
            ("probe", "wait", {"conditions": ["vm.locked=vm-01,vm-04"]}),
            ("probe", "command", {"name": "get.vms", "arguments": {}}),
            ("action", "reboot", {"hosts": ["nobody"]}),
        )
    ],
}
_PLAY = """
import json, sys
from chaoslib.experiment import ensure_experiment_is_valid, run_experiment
experiment = json.load(sys.stdin)
ensure_experiment_is_valid(experiment)
print("JOURNAL", json.dumps(run_experiment(experiment)["run"]))
"""


def test_chaos_toolkit_plays_an_experiment(installed: Installed) -> None:
    installed.install("chaostoolkit-lib", "setuptools<81")
    command = [str(installed.python), "-c", _PLAY]
    ran = subprocess.run(
        command, cwd="/", env=installed.env, input=json.dumps(_EXPERIMENT), **_QUIET
    )
    [line] = [one for one in ran.stdout.splitlines() if one.startswith("JOURNAL")] or [ran.stderr]
    run = json.loads(line.removeprefix("JOURNAL "))
    told = {(one["activity"]["name"], one["status"]) for one in run[:4]}
    assert told == {(name, "succeeded") for name in ("cut", "reboot", "wait", "command")}
    assert run[2]["output"] is True and run[3]["output"]["kind"] == "VmList"
    assert run[4]["status"] == "failed" and "KS-USE-002" in str(run[4]["exception"])
