"""A pool whose hosts are trusted, and the hosts of its Trust Authority on machines that were
invited. One lab on real processes for all tests; each leaves it with all nodes running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from services.runtime.tpm.backends import missing_for_libtpms
from tests.lab.cli.conftest import until
from tests.lab.machines.conftest import trusted_file
from tests.lab.machines.test_invited import LEASE_S, Shared

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}"),
]
BOTH = {"esxi-001", "esxi-002"}


class TrustedPool(Shared):
    """With hosts ``one`` and ``two``, and machines ``trust-1`` and ``trust-2``."""

    def items(self, *words: str) -> list[dict[str, Any]]:
        ran = self.outside("get", *words, "-n", "shared", "-o", "json")
        return ran.items() if ran.code == 0 else []

    def attested(self) -> set[str]:
        found = [h for h in self.items("trusted-hosts") if h["attestation"] == "attested"]
        return {host["host"] for host in found if host["health"] == "OK"}

    def runs(self, host: str) -> bool:
        """As the host says, whatever vCenter knows."""
        told = self.outside("describe", "host", host, "-n", "shared").out
        return "crypto mode:      safe" in told and " poweredOn" in told

    def all_run(self) -> bool:
        vms = self.items("vms")
        on = {vm["host"] for vm in vms if (vm["power"], vm["crypto"]) == ("poweredOn", "unlocked")}
        return on == self.attested() == BOTH


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustedPool]:
    file = trusted_file(name="shared")
    file["clusters"][0]["hosts"]["count"] = 0
    file["clusters"][0]["vms"]["count"] = 1
    file["machines"] = [
        {"name": "racks", "clusters": ["a"], "pool": True, "lease_s": LEASE_S},
        *(
            {"name": f"trust-{n}", "nodes": [f"attestation-{n}", f"keyprovider-{n}"]}
            | {"lease_s": LEASE_S}
            for n in (1, 2)
        ),
    ]
    made = TrustedPool(tmp_path_factory.mktemp("shared"), file)
    try:
        for where, name in (("racks", "one"), ("racks", "two")):
            made.join(where, name)
        made.start()
        for name in ("trust-1", "trust-2"):
            made.join(name, name)
        made.attach()
        yield made
    finally:
        made.end()


def test_hosts_that_ask_for_a_place_are_trusted_with_their_vms(pool: TrustedPool) -> None:
    assert until(pool.all_run, 120), (pool.items("vms"), (pool.folder / "up.log").read_text())
    items = [(item["kind"], item["name"]) for item in pool.items("trust-authority")]
    assert {name for kind, name in items if kind == "endorsementKey"} == BOTH
    assert {item["health"] for item in pool.items("trust-authority")} == {"OK"}


def test_a_machine_that_is_killed_comes_back_while_vcenters_are_down(pool: TrustedPool) -> None:
    """Its host boots by itself, attests with its own TPM, and has its VM run."""
    assert until(pool.all_run, 120)
    pool.outside.ok("fault", "vcenter.down", "-n", "shared")
    names = {h["machine"]: h["node_names"] for h in pool.items("machines")}
    (host,) = names["one"]
    pool.agent("one").kill()
    pool.join("racks", "one")
    assert until(lambda: pool.runs(host), 60), pool.outside("describe", "host", host).out
    pool.outside.ok("heal", "--all", "-n", "shared")
    assert until(pool.all_run, 60)


def test_a_host_of_the_trust_authority_is_lost_with_its_machine(pool: TrustedPool) -> None:
    """The other one serves; it boots when it has joined again, with what it is to have."""
    assert until(pool.all_run, 120)
    gone = pool.agent("trust-1")
    gone.kill()
    psutil.wait_procs([gone], 20)
    pool.outside.ok("host", "power-loss", "esxi-002", "-n", "shared")
    assert until(pool.all_run, 90), pool.items("vms")
    pool.join("trust-1", "trust-1")

    def well() -> bool:
        return {item["health"] for item in pool.items("trust-authority")} == {"OK"}

    assert until(well, 60), pool.items("trust-authority")
