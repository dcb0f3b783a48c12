"""Users with roles at the command line, on a lab of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "state")
    cli.ok("up", "--hosts", "2", "--vms", "1", "--tpm", "none", "--pace", "100", "-q")
    yield cli
    cli.end()


@pytest.mark.slow
def test_a_user_of_the_command_line_may_do_what_its_role_allows(lab: Cli) -> None:
    lab.ok("user", "set", "alice", "--role", "NoCryptoAdmin")
    refused = lab("vm", "create", "vm-07", "--encrypted", "--user", "alice")
    assert refused.code == 1 and "alice lacks Cryptographer.EncryptNew" in refused.err
    assert "fix: `keystead get roles`" in refused.err
    lab.ok("vm", "create", "vm-07", "--user", "alice")
    tasks = lab.ok("get", "tasks", "-o", "json").items()
    own = [(task["name"], task["state"]) for task in tasks if task["user"] == "alice"]
    assert own == [("CreateVm", "error"), ("CreateVm", "success")]

    lab.ok("role", "create", "own", "--like", "NoCryptoAdmin", "--with", "Cryptographer.Encrypt")
    wrong = lab("role", "update", "own", "--with", "Cryptographer.Encript")
    assert wrong.code == 64 and "did you mean Cryptographer.Encrypt?" in wrong.err
    lab.ok("user", "set", "alice", "--role", "own")
    lab.ok("vm", "encrypt", "vm-07", "--user", "alice")
    row = next(line for line in lab.ok("get", "roles").out.splitlines() if line.startswith("own "))
    assert "Cryptographer.Access" in row and " no " in row
    users = {user["user"]: user["role"] for user in lab.ok("get", "users", "-o", "json").items()}
    assert users == {"administrator@vsphere.local": "Admin", "alice": "own"}
    lab.ok("user", "delete", "alice")
    lab.ok("role", "delete", "own")
    assert lab("get", "vms", "--user", "alice").code == 1
