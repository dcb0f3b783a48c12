"""Ansible's collections ``vmware.vmware`` and ``community.vmware``, each play run twice."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli
from tests.lab.vsphere.clients.conftest import find_program

if TYPE_CHECKING:
    from tests.lab.vsphere.clients.conftest import Machine

pytestmark = [pytest.mark.sim, pytest.mark.slow]
LOGIN = {
    "hostname": "{{ lookup('env', 'VMWARE_HOST') }}",
    "port": "{{ lookup('env', 'VMWARE_PORT') }}",
    "username": "{{ lookup('env', 'VMWARE_USER') }}",
    "password": "{{ lookup('env', 'VMWARE_PASSWORD') }}",
    "validate_certs": False,
}
OUTSIDE = {"id": "east", "address": "127.0.0.1", "port": 5696}


def play(machine: Machine, tmp_path: Path, *tasks: tuple[str, dict[str, Any]]) -> list[Any]:
    """The results of these modules with these arguments; a failed one has ``failed``."""
    python = Path(find_program("ansible-playbook")).with_name("python")
    rows = [{name: {**LOGIN, **arguments}, "ignore_errors": True} for name, arguments in tasks]
    book = tmp_path / "play.yml"
    variables = {"ansible_python_interpreter": str(python)}
    book.write_text(
        json.dumps([{"hosts": "all", "gather_facts": False, "vars": variables, "tasks": rows}])
    )
    done = machine.run(
        "ansible-playbook", "-i", "localhost,", "-c", "local", str(book),
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_HOME=str(tmp_path / "ansible"),
        ANSIBLE_DEPRECATION_WARNINGS="False", LC_ALL="C.UTF-8",
    )  # fmt: skip
    begin = done.stdout.find("\n{") + 1
    found, _ = json.JSONDecoder().raw_decode(done.stdout[begin:])
    return [one["hosts"]["localhost"] for one in found["plays"][0]["tasks"]]


def _changed(results: list[Any]) -> list[bool]:
    assert not any(one.get("failed") for one in results), [one.get("msg") for one in results]
    return [one["changed"] for one in results]


def test_key_providers_are_as_the_play_wants_them(machine: Machine, tmp_path: Path) -> None:
    standard = ("vmware.vmware.key_provider_standard", {"name": "outside"})
    present = (standard[0], {**standard[1], "state": "present", "kms_servers": [OUTSIDE]})
    absent = (standard[0], {**standard[1], "state": "absent"})
    info: tuple[str, dict[str, Any]] = ("vmware.vmware.key_provider_info", {})
    results = play(machine, tmp_path, info, present, present, info, absent, absent, info)
    assert _changed(results) == [False, True, False, False, True, False, False]
    before, during, after = (results[n]["key_providers"] for n in (0, 3, 6))
    assert list(before) == list(after) == ["kms-provider"]
    assert during["outside"]["servers"][0]["id"] == "east"
    assert during["outside"]["servers"][0]["port"] == 5696


def test_facts_and_power(machine: Machine, tmp_path: Path) -> None:
    def power(state: str) -> tuple[str, dict[str, Any]]:
        return (
            "vmware.vmware.vm_powerstate",
            {"name": "vm-02", "datacenter": "dc", "state": state},
        )

    results = play(
        machine, tmp_path,
        ("community.vmware.vmware_about_info", {}),
        ("community.vmware.vmware_vm_info", {}),
        ("community.vmware.vmware_host_facts", {"esxi_hostname": "esxi-001"}),
        ("community.vmware.vmware_cluster_info", {"cluster_name": "cluster-a"}),
        ("vmware.vmware.esxi_info", {"esxi_host_name": "esxi-001"}),
        power("powered-off"), power("powered-off"), power("powered-on"),
    )  # fmt: skip
    assert _changed(results) == [False] * 5 + [True, False, True]
    about, vms, host, clusters, *_ = results
    assert about["about_info"]["api_version"] == "8.0.3.0"
    assert len(vms["virtual_machines"]) == 6
    assert host["ansible_facts"]["ansible_host_connection_state"] == "connected"
    assert "cluster-a" in clusters["clusters"]


def test_a_runbook_against_six_hours_without_the_key_server(tmp_path: Path) -> None:
    python = Path(find_program("ansible-playbook")).with_name("python")
    book = Path(__file__).parents[4] / "examples" / "vsphere" / "six_hours.yml"
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "keystead").write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m lab.cli.main "$@"\n'
    )
    (tools / "keystead").chmod(0o755)

    def play(number: int) -> str:
        """The hash of the lab's trace."""
        cli = Cli(tmp_path / f"state-{number}", PATH=f"{tools}:{os.environ['PATH']}",
                  ANSIBLE_HOME=str(tmp_path / "ansible"), LC_ALL="C.UTF-8",
                  ANSIBLE_CALLBACKS_ENABLED="ansible.posix.profile_tasks")  # fmt: skip
        serving = cli.begin(
            "serve", "--sim", "default", "--seed", "7", "--name", "story", "--listen", "127.0.0.1:0"
        )
        try:
            assert serving.stderr is not None
            while not serving.stderr.readline().startswith("next:"):
                assert serving.poll() is None
            playing = cli.begin(
                "exec", "--name", "story", "--", find_program("ansible-playbook"), str(book),
                "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={python}",
            )  # fmt: skip
            out, _ = playing.communicate(timeout=120)
            assert playing.returncode == 0, out
            assert "vm-01, vm-04 were off for 6h; all 6 VMs run" in out
            [waited] = re.findall(r"^Hours pass -+ ([0-9.]+)s$", out, re.M)
            assert float(waited) < 5.0, waited
        finally:
            serving.send_signal(signal.SIGTERM)
            _, err = serving.communicate(timeout=30)
        return str(re.findall(r"^trace ([0-9a-f]{32})$", err, re.M)[0])

    assert play(1) == play(2)


def test_outages_as_plays_see_them(machine: Machine, tmp_path: Path) -> None:
    facts: tuple[str, dict[str, Any]] = (
        "community.vmware.vmware_host_facts", {"esxi_hostname": "esxi-001"},
    )  # fmt: skip
    with machine.without_host("esxi-001"):
        [seen] = play(machine, tmp_path, facts)
        assert seen["ansible_facts"]["ansible_host_connection_state"] == "notResponding"
    with machine.without_vcenter():
        [refused] = play(machine, tmp_path, facts)
        assert refused["failed"] and "Connection refused" in refused["msg"]
