"""Lab files mean what they say: names are used once and point to something, numbers have ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan

HEAD = "apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: vcenter}]\n"
KMS = "kms: [{name: kms}, {name: kms-2}]\n"
ONE = "{name: one, servers: [kms]}"
TWO = "{name: two, servers: [kms-2]}"
VMS = "{count: 1, provider: one}"
PROVIDERS = f"{KMS}providers: [{ONE}]\n"


def read(text: str, folder: Path) -> str:
    """What is said against a file; empty when nothing is."""
    path = folder / "lab.yaml"
    path.write_text(HEAD + text if "vcenters" not in text else text)
    try:
        plan(load(path))
    except KeysteadError as error:
        assert error.id == "KS-TOPO-001" and error.exit_code == 4
        return str(error).replace(str(path), "lab.yaml")
    return ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kms: [{name: vcenter}]", "lab.yaml:4:8: kms.0.name: the node name vcenter is used twice"),
        ("kms: [{name: a}, {name: a}]", "lab.yaml:4:19: kms.1.name: the node name a is used twice"),
        (
            "kms: [{name: a, root: tpm}]",
            "lab.yaml:4:17: kms.0.root: key server a: the root tpm needs a TPM under the server",
        ),
        ("kms: [{name: a, root: passphrase}]", "the root passphrase needs a passphrase_file"),
        (
            "kms: [{name: a, root: passphrase, passphrase_file: words}]",
            "kms.0.passphrase_file: key server a: words: the path must be absolute",
        ),
        (
            "kms: [{name: a, passphrase_file: /words}]",
            "kms.0.passphrase_file: key server a: it is for the root passphrase only",
        ),
        ("kms: [{name: a, root: hsm}]", "lab.yaml:4:17: kms.0.root: "),
        ("kms: [{name: esxi-001}]", "esxi-001 is the name of a host; names like it are for hosts"),
        ("clusters: [{name: a}, {name: a}]", "clusters.1.name: the cluster name a is used twice"),
        ("sites: [main, main]", "lab.yaml:4:15: sites.1: the site name main is used twice"),
        (f"{KMS}providers: [{ONE}, {ONE}]", "the provider name one is used twice"),
        (
            "clusters: [{name: a, vcenter: vc}]",
            "clusters.0.vcenter: cluster a: there is no vCenter vc",
        ),
        ("clusters: [{name: a, site: edge}]", "clusters.0.site: a: site edge is not in sites"),
        (
            f"{KMS}providers: [{{name: a, servers: [kms], vcenter: vc}}]",
            "providers.0.vcenter: provider a: there is no vCenter vc",
        ),
        (f"{KMS}providers: [{{name: a, servers: [kmip]}}]", "provider a: no key server kmip"),
        (
            f"{PROVIDERS}"
            "clusters: [{name: a, vsan: {provider: one, erase_disks_before_use: yes}}]",
            "clusters.0.vsan.erase_disks_before_use: cluster a: disks are not overwritten here",
        ),
        (
            "clusters: [{name: a, vsan: {encrypted: no, erase_disks_before_use: yes}}]",
            "clusters.0.vsan.erase_disks_before_use: cluster a: disks are not overwritten here",
        ),
        ("clusters: [{name: a, hosts: {version: 6.5.0}}]", "'6.5.0' is not a known version"),
        (
            "clusters: [{name: a, hosts: {version: 6.7U3}}]",
            "clusters.0.hosts.version: '6.7U3' is not a known version: use",
        ),
        (
            "clusters: [{name: a, hosts: {count: 2, without_tpm: 2}}]",
            "clusters.0.hosts.without_tpm: cluster a: all of its hosts would be without a TPM",
        ),
        (
            "clusters: [{name: a, hosts: {count: true}}]",
            "hosts.count: Input should be a valid integer",
        ),
        (
            "clusters: [{name: a, hosts: {count: '3'}}]",
            "hosts.count: Input should be a valid integer",
        ),
        ("clusters: [{name: a b}]", "clusters.0.name: 'a b' is no cluster name: letters"),
        (
            f"{PROVIDERS}clusters: [{{name: a, hosts: {{count: 0}}, vms: {VMS}}}]",
            "cluster a: it has VMs, but no host to run them",
        ),
        (
            f"{PROVIDERS}clusters: [{{name: a, vms: {{provider: other}}}}]",
            "cluster a: there is no provider other of ['one']",
        ),
        (
            f"clusters: [{', '.join(f'{{name: c{n}, hosts: {{count: 2000}}}}' for n in range(6))}]",
            "clusters: 12000 hosts in all; at most 10000",
        ),
        (
            f"knobs: {{max_key_providers: 1}}\n{KMS}providers: [{ONE}, {TWO}]",
            "2 key providers; the knob",
        ),
        (
            f"{KMS}providers: [{{name: a, servers: [kms], default: false}}]",
            "providers.0.default: provider a: the first one is the default unless another says",
        ),
        (
            f"{KMS}providers: [{ONE[:-1]}, default: true}}, {TWO[:-1]}, default: true}}]",
            "providers.1.default: provider two: the default provider is one already",
        ),
        ("knobs: {heartbeat_s: 0}", "knobs.heartbeat_s: 0 is not 0.1 to 3600 s"),
        ("name: Prod", "name: 'Prod' is no lab name: lower-case letters"),
        (
            "pace: 99999999999999999999",
            "the whole number 99999999999999999999 has more than 64 bits",
        ),
        ("pace: " + "9" * 5001, "a whole number of 5001 characters is too long"),
        ("pace: 1" + ":1" * 200_000, "a whole number of 400001 characters is too long"),
        (
            "kms: [" + ", ".join(f"{{name: k{n}}}" for n in range(65)) + "]",
            "kms: Tuple should have at",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    assert said in read(text, tmp_path)


def test_one_reading_tells_all_of_it(tmp_path: Path) -> None:
    text = "kms: [{name: vcenter}]\nclusters: [{name: a, vcenter: vc, site: x}, {name: a}]"
    assert len(read(text, tmp_path).splitlines()) == 4


@pytest.mark.parametrize(
    ("providers", "default"),
    [
        (f"[{ONE}]", ["one"]),
        (f"[{ONE}, {TWO}]", ["one"]),
        (f"[{ONE}, {TWO[:-1]}, default: true}}]", ["two"]),
        (f"[{ONE[:-1]}, default: false}}, {TWO[:-1]}, default: true}}]", ["two"]),
        ("[]", []),
    ],
)
def test_one_provider_is_the_default(providers: str, default: list[str], tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(f"{HEAD}{KMS}providers: {providers}")
    made = plan(load(tmp_path / "lab.yaml"))
    assert [p.provider for p in made.providers if p.default] == default


@pytest.mark.parametrize("count", [0, 3, 100_000, -1, True])
def test_so_many_key_servers_are_refused(count: Any) -> None:
    with pytest.raises(KeysteadError, match="1, or 2 for a pair") as caught:
        load("default", kms=count)
    assert caught.value.id == "KS-USE-003"


def _two_vcenters(providers: str, clusters: str = "[]") -> str:
    return (
        "apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: west}, {name: east}]\n"
        f"kms: [{{name: kms}}]\nproviders: {providers}\nclusters: {clusters}\n"
    )


@pytest.mark.parametrize(
    ("providers", "clusters", "said"),
    [
        ("[{name: p, vcenter: north, servers: [kms]}]", "[]", "there is no vCenter north"),
        (
            "[{name: p, vcenter: west, servers: [kms]}, {name: p, vcenter: west, servers: [kms]}]",
            "[]",
            "the provider name p is used twice",
        ),
        (
            "[{name: p, vcenter: west, servers: [kms]}]",
            "[{name: a, vcenter: east, vms: {count: 1, provider: p}}]",
            "there is no provider p",
        ),
    ],
)
def test_what_a_vcenter_does_not_have_is_refused(
    providers: str, clusters: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(_two_vcenters(providers, clusters))
    with pytest.raises(KeysteadError, match=said):
        load(path)


def test_each_vcenter_has_a_default_of_its_own_and_may_use_a_name_of_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(
        _two_vcenters(
            "[{name: p, vcenter: west, servers: [kms]}, {name: p, vcenter: east, servers: [kms]},"
            " {name: q, vcenter: east, servers: [kms], default: true}]"
        )
    )
    found = [(p.vcenter, p.provider, p.default) for p in plan(load(path)).providers]
    assert found == [("west", "p", True), ("east", "p", False), ("east", "q", True)]


def test_hosts_without_a_tpm_come_last_have_no_vm_and_persist_no_key(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    hosts = "{count: 3, without_tpm: 1, key_persistence: true}"
    vms = "{count: 4, provider: one}"
    path.write_text(f"{HEAD}{PROVIDERS}clusters: [{{name: a, hosts: {hosts}, vms: {vms}}}]\n")
    made = plan(load(path, tpm="model"))
    tpms = {spec.node: spec.tpm.value for spec in made.nodes if spec.cluster}
    assert tpms == {"esxi-001": "model", "esxi-002": "model", "esxi-003": "none"}
    assert {vm.host for vm in made.vms} == {"esxi-001", "esxi-002"}
    assert made.key_persistence == ("esxi-001", "esxi-002")
