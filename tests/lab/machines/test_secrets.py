"""Who holds which private identity: a process of a machine has its own in its memory, and of what
other processes and machines have nothing, neither there nor in its environment or arguments."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli
from tests.lab.machines.conftest import lab_file

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def secrets(lab: Path) -> dict[str, list[bytes]]:
    """What is private of each node and agent, in the forms in which it may lie in memory."""
    found: dict[str, list[bytes]] = {}
    for path in sorted((lab / "identity").glob("[nc]o*/*.json")):
        kept = json.loads(path.read_bytes())
        forms = [kept["seed"].encode()]
        if kept.get("sealing"):
            forms += [kept["sealing"].encode(), base64.b64decode(kept["sealing"])]
        found[path.stem] = forms
    return found


def memory(pid: int) -> Iterator[bytes]:
    """All that a process has mapped and may read."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = line.split()
            begin, end = (int(number, 16) for number in span.split("-"))
            if rights[0] == "r" and not line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                file.seek(begin)
                yield file.read(end - begin)
    yield Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()


def children(pid: int) -> list[int]:
    below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in map(int, below) for one in (child, *children(child))]


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.timeout(180)
def test_each_process_holds_its_own_identities_and_no_other(tmp_path: Path) -> None:
    made = lab_file(name="secret")
    one, two = made["clusters"]
    many = {**two, "hosts": {"count": 2, "tpm": "none"}, "vms": {"count": 0}}
    file = tmp_path / "secret.yaml"
    file.write_text(json.dumps({**made, "clusters": [{**one, "vms": {"count": 0}}, many]}))
    here, east = Cli(tmp_path / "here"), Cli(tmp_path / "east")
    up = here.begin("up", str(file), "-n", "secret", "--progress", "plain")
    agent: subprocess.Popen[str] | None = None
    try:
        assert any("wait for machine" in line for line in up.stderr or ())
        bundle = str(tmp_path / "east.bundle")
        here.ok("lab", "bundle", "east", "-n", "secret", "-o", bundle)
        agent = east.begin("agent", "join", bundle)
        _, told = up.communicate(timeout=120)
        assert up.returncode == 0, told
        private = secrets(here.home / "labs/secret")
        assert {"esxi-002", "esxi-003", "machine-east", "kms", "supervisor"} <= private.keys()
        held = {
            comm(pid): {
                name
                for name, forms in private.items()
                if any(form in part for part in memory(pid) for form in forms)
            }
            for pid in (agent.pid, *children(agent.pid))
            if os.access(f"/proc/{pid}/mem", os.R_OK)
        }
        held.pop(comm(agent.pid))  # it has carried all of the bundle to their files
        assert {name: sorted(of) for name, of in held.items()} == {
            "keystead-fork": [],
            "ks-esxi-002": ["agent-4", "esxi-002"],
            "ks-esxi-003": ["agent-5", "esxi-003"],
        }
    finally:
        for cli in (east, here):
            cli.end()
        for process in (up, agent):
            if process is not None:
                process.communicate(timeout=10)
