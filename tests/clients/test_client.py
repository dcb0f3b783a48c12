"""The package that users import: a lab from somebody's own script and test suite."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import pydoc
import re
import shutil
import signal
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keystead import Answer, AsyncLab, KeysteadError, Lab, plain
from tests.clients import methods
from tests.tidy.tree import ROOT

CLIENT = ROOT / "clients" / "python"
LOCKED = "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError"
_PLUGIN_ALONE = {**os.environ, "PYTHONPATH": str(CLIENT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_OUTSIDE = {
    "pytest_plugin.py": {"pytest"},
    "chaostoolkit.py": {"chaoslib"},
    "_launcher.py": {"lab"},
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """One process for these tests."""
    with Lab(seed=7) as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Lab:
    shared.reset()
    return shared


def test_methods_and_types_are_those_of_the_schema() -> None:
    """``python -m tests.clients.methods`` writes the files anew."""
    for name, text in methods.files().items():
        assert (methods.PACKAGE / name).read_text("utf-8") == text, name


def test_help_shows_the_arguments_and_the_text_of_a_command() -> None:
    told = pydoc.plain(pydoc.render_doc(Lab.vm_create))
    signature = "".join(told.split())  # Python 3.13 breaks it into lines
    assert "vm_create(self,vm:'str',*,cluster:'str|None'=None" in signature
    assert "Create a VM, powered off." in told
    assert "encrypted: Create it encrypted, under a new key." in told
    with pytest.raises(TypeError, match="vm_create: missing a required argument: 'vm'"):
        Lab().vm_create()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"heal: too many.*it takes \(\*, ids: .*, all: 'bool"):
        Lab.heal(Lab(), "vcenter")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="vm_create: got an unexpected keyword argument 'name'"):
        Lab().vm_create("vm-07", name="vm-07")  # type: ignore[call-arg]


def test_an_answer_has_members_and_names_them() -> None:
    text = '{"kind": "List", "items": [{"states": {"Active": 3}}]}'
    answer = json.loads(text, object_hook=Answer)
    [row] = answer.items
    assert row.states.Active == row["states"]["Active"] == 3
    assert dict(row.states.items()) == {"Active": 3} and "kind" in answer
    assert answer == json.loads(text) == json.loads(json.dumps(plain(answer)))
    with pytest.raises(AttributeError, match="List has no itmes"):
        answer.itmes  # noqa: B018


SCRIPT = """
from keystead import AsyncLab, Lab, answers

def locked(lab: Lab) -> list[str]:
    vms: list[answers.Vm] = lab.get_vms().items
    return [vm.vm for vm in vms if vm.crypto == "locked"]

async def first_host(lab: AsyncLab) -> str:
    return (await lab.get_hosts()).items[0].host
"""
WRONG = """
from keystead import Lab

with Lab() as lab:
    lab.vm_create(vm=7)
    lab.vm_create("vm-07", hosts="esxi-001")
    lab.cluster_crypto_mode("cluster-a", "always")
    print(lab.get_vms().items[0].powre)
"""


@pytest.mark.slow
def test_a_type_checker_knows_commands_and_answers(tmp_path: Path) -> None:
    for name, text in (("right.py", SCRIPT), ("wrong.py", WRONG)):
        (tmp_path / name).write_text(text)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--hide-error-context",
        "right.py",
        "wrong.py",
    ]
    env = {"PATH": "/usr/bin:/bin", "MYPYPATH": str(CLIENT)}
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    found = [
        line.partition(": error: ")[0::2] for line in ran.stdout.splitlines() if ": error: " in line
    ]
    assert [place for place, _ in found] == [f"wrong.py:{line}" for line in (5, 6, 7, 8)], ran
    for (_, text), kind in zip(
        found, ("arg-type", "call-arg", "arg-type", "attr-defined"), strict=True
    ):
        assert f"[{kind}]" in text


def test_it_needs_nothing_but_the_standard_library() -> None:
    for path in (CLIENT / "keystead").glob("*.py"):
        allowed = sys.stdlib_module_names | {"keystead"} | _OUTSIDE.get(path.name, set())
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert {name.split(".")[0] for name in names} <= allowed, path.name


@pytest.mark.slow
def test_an_outage_in_virtual_time(lab: Lab) -> None:
    lab.cut("vcenter", "kms")
    lab.reboot("esxi-001")
    lab.wait("vm.locked=vm-01,vm-04", within="10m")
    assert LOCKED in lab.events()
    assert lab.describe_vm("vm-01").reasons
    lab.heal(all=True)
    lab.wait("vm.locked=none")


@pytest.mark.slow
def test_a_reset_begins_the_same_lab_again(lab: Lab) -> None:
    def outage() -> str:
        lab.cut("vcenter", "kms")
        lab.reboot("esxi-001")
        lab.sleep("1m")
        return lab.trace()

    first = outage()
    lab.reset()
    assert outage() == first


@pytest.mark.slow
def test_an_error_has_its_id_and_its_fix(lab: Lab) -> None:
    with pytest.raises(KeysteadError) as refused:
        lab.cut("nobody", "kms")
    assert refused.value.id == "KS-USE-002" and refused.value.fix
    with pytest.raises(KeysteadError, match="KS-WAIT-001"):
        lab.wait("vm.locked=vm-01", within="2s")
    with pytest.raises(KeysteadError, match="10 minutes"):
        lab.wait("vm.locked=vm-01", within="10 minutes")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(KeysteadError, match=r"KS-USE-003.*serve=True"):
        Lab().url  # noqa: B018
    with pytest.raises(RuntimeError, match="no lab is open"):
        Lab().get_vms()


@pytest.mark.slow
def test_the_requests_that_it_keeps_replay_the_run(lab: Lab) -> None:
    lab.wait("vm.running=all")
    lab.events()
    lab.get_vms()
    requests, seen = lab.given[1:], lab.trace()
    lab.reset()
    for request in requests:
        lab._ask(**request)
    assert lab.trace() == seen


@pytest.mark.slow
def test_what_is_no_request_leaves_the_lab_as_it_is(lab: Lab) -> None:
    """Each of these ends no lab, and none is taken for another one."""
    deep: list[object] = []
    for _ in range(900):
        deep = [deep]
    for request in (
        {},
        {"do": {"command": "get.vms"}, "sleep": 1},
        {"sleep": -1},
        {"wait": ["vm.running=all"], "within_s": -1},
        {"do": {"command": deep}},
        {"do": {"command": "describe.vm", "vm": "\ud800"}},
        {"open": {"options": {"seed": 8}}},
    ):
        with pytest.raises(KeysteadError, match="KS-USE-00"):
            lab._ask(**request)
    lab.sleep("25h")
    assert lab.get_vms().kind == "VmList"


@pytest.mark.slow
def test_an_interrupted_request_is_not_answered_to_the_next_one(lab: Lab) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            lab.sleep("2h")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert lab.get_vms().kind == "VmList"


@pytest.mark.slow
def test_a_process_that_was_killed_is_replaced() -> None:
    with Lab(seed=7) as lab:
        process = lab._connection._process  # type: ignore[union-attr]
        process.kill()
        with pytest.raises(KeysteadError, match="exit code -9"):
            lab.get_vms()
        lab.reset()
        assert lab.get_vms().kind == "VmList"
        with pytest.raises(RuntimeError, match="open already"):
            lab.__enter__()
        lab._connection._process.kill()  # type: ignore[union-attr]


def test_a_method_for_asyncio_has_the_arguments_and_the_help_of_its_own() -> None:
    names = [name for name in dir(Lab) if not name.startswith("_")]
    for name in set(names) - {"close", "url", "user", "password", "ca_file", "variables"}:
        awaited, method = getattr(AsyncLab, name), getattr(Lab, name)
        assert inspect.iscoroutinefunction(awaited)
        assert inspect.signature(awaited) == inspect.signature(method)
        assert awaited.__doc__ == method.__doc__


@pytest.mark.slow
async def test_with_asyncio() -> None:
    async with AsyncLab(seed=7) as lab, asyncio.timeout(100):
        await lab.power_loss("esxi-001")
        await lab.wait("host.connected=all")
        assert len((await lab.get_vms()).items) == 6


@pytest.mark.slow
def test_a_runbook_of_pyvmomi_works_against_a_simulated_lab() -> None:
    connect = pytest.importorskip("pyVim.connect")
    task = pytest.importorskip("pyVim.task")
    with Lab(seed=7, serve=True, vms=2, hosts=1) as lab:
        address = urlsplit(lab.url)
        context = ssl.create_default_context(cafile=lab.ca_file)
        si = connect.SmartConnect(
            host=address.hostname, port=address.port, user=lab.user, pwd=lab.password,
            sslContext=context,
        )  # fmt: skip
        vm = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-01")
        assert vm.runtime.powerState == "poweredOn"
        lab.vm_off(vms=["vm-01"])  # what one side does, the other one sees
        assert vm.runtime.powerState == "poweredOff"
        task.WaitForTask(vm.PowerOnVM_Task(), si=si)
        lab.wait("vm.running=all")
        before = lab.get_hosts().items[0].seen_at
        time.sleep(0.5)  # real time; that of the lab stands still
        assert lab.get_hosts().items[0].seen_at == before
        lab.reset()
        assert lab.url and lab.variables["GOVC_URL"] == f"{lab.url}/sdk"


SUITE = """
import pytest

LABS = set()

@pytest.mark.keystead("default", seed=7)
@pytest.mark.parametrize("turn", [1, 2])
def test_each_finds_a_lab_that_is_well(keystead, turn):
    LABS.add(id(keystead))
    assert len(LABS) == 1 and not keystead.get_faults().items
    keystead.cut("vcenter", "kms")

@pytest.mark.keystead("default", seed=7)
def test_that_fails(keystead):
    keystead.cut("vcenter", "kms")
    assert "nothing" in keystead.events()

@pytest.fixture
def broken(keystead):
    keystead.cut("vcenter", "esxi-001")
    raise ValueError("a fixture on the lab")

@pytest.mark.keystead("default", seed=7)
def test_whose_fixture_fails(broken):
    pass
"""


@pytest.mark.slow
def test_workers_share_a_lab_each_and_a_failure_tells_how_to_replay_it(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(textwrap.dedent(SUITE))
    words = ["-p", "keystead.pytest_plugin", "-p", "xdist", "-n", "2", "--dist", "each"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "--junit-xml=out/junit.xml"],
        cwd=tmp_path,
        env=_PLUGIN_ALONE,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert "2 failed, 4 passed, 2 errors" in ran.stdout, ran.stdout
    assert ran.stdout.count("mode sim, seed 7") == 4
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    requests = [json.loads(line) for line in lines]
    assert [request["open"]["seed"] for request in requests if "open" in request] == [7] * 4
    for to in ("kms", "esxi-001"):
        cut = {"command": "link.cut", "a": "vcenter", "b": to, "one_way": False}
        assert {"do": cut} in requests
    folder = tmp_path / "out" / "keystead-report"
    page = folder / "test-suite-py-test-that-fails.html"
    assert sorted(folder.iterdir()) == [
        page,
        folder / "test-suite-py-test-whose-fixture-fails.html",
    ]
    assert "cut vcenter &lt;-&gt; kms" in page.read_text() and str(page) in ran.stdout
    properties = (tmp_path / "out" / "junit.xml").read_text()
    assert 'name="keystead_seed" value="7"' in properties
    assert f'name="keystead_page" value="{page}"' in properties


@pytest.mark.slow
def test_the_documented_tests_pass(tmp_path: Path) -> None:
    """Every Python block of README and docs/testing.md that is a test of its own."""
    shutil.copy(ROOT / "examples" / "pytest" / "lab.yaml", tmp_path)
    for page in ("README.md", "docs/testing.md"):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
        tests = [block for block in blocks if "def test_" in block and "my_runbook" not in block]
        assert tests, page
        for number, test in enumerate(tests):
            (tmp_path / f"test_{Path(page).stem}_{number}.py").write_text(test)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "keystead.pytest_plugin"],
        cwd=tmp_path,
        env=_PLUGIN_ALONE,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ran.returncode == 0 and "2 passed" in ran.stdout, ran.stdout
