"""A release that a command installed is on its host, and not in the processes of a lab."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.lab

OLD = {
    "apiVersion": "keystead/v1",
    "kind": "Lab",
    "name": "default",
    "pace": 100,
    "vcenters": [{"name": "vcenter"}],
    "kms": [{"name": "kms"}],
    "providers": [{"name": "kms-provider", "servers": ["kms"], "default": True}],
    "clusters": [
        {"name": "cluster-a", "hosts": {"count": 2, "version": "7.0U1", "tpm": "none"}},
    ],
}


@pytest.mark.slow
def test_an_upgraded_host_is_of_its_release_when_the_lab_goes_on(cli: Cli, tmp_path: Path) -> None:
    """Stopped, and with a host that was off and has not booted its new release yet."""
    lab = tmp_path / "old.yaml"
    lab.write_text(yaml.safe_dump(OLD))
    cli.ok("up", str(lab))
    cli.ok("host", "enter-maintenance", "esxi-001")
    cli.ok("host", "power-off", "esxi-002")
    cli.ok("host", "upgrade", "esxi-001", "esxi-002", "--to", "7.0U3")
    cli.ok("down")
    cli.ok("up")
    hosts = cli.ok("get", "hosts", "-o", "json").items()
    assert [host["version"] for host in hosts] == ["7.0U3", "7.0U3"]
    ran = cli("host", "upgrade", "esxi-001", "--to", "7.0U1")
    assert ran.code == 1 and "esxi-001 has 7.0 U3" in ran.err
    cli.ok("host", "power-off", "esxi-001")
    cli.ok("host", "rollback", "esxi-001")
    cli.ok("down")
    cli.ok("up")
    hosts = cli.ok("get", "hosts", "-o", "json").items()
    assert [host["version"] for host in hosts] == ["7.0U1", "7.0U3"]
