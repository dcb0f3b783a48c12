"""What seals a key server's keys, as its administrator has it: in a lab file, and by commands."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.client import Lab
from lab.conformance import bench
from lab.schema import commands as c
from lab.schema.answers import KeyServer
from protocol.terms import RootKind
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

WORDS = "correct horse battery staple"
FILE = """\
apiVersion: keystead/v1
kind: Lab
vcenters: [{{name: vcenter}}]
kms:
  - {{name: kms-1, tpm: model, root: tpm}}
  - {{name: kms-2, root: passphrase, passphrase_file: {words}}}
  - {{name: kms-3}}
providers: [{{name: pair, servers: [kms-1, kms-2]}}, {{name: alone, servers: [kms-3]}}]
clusters: [{{name: a, hosts: {{count: 1, tpm: none}}, vms: {{count: 2, provider: pair}}}}]
"""


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words"
    path.write_text(f"{WORDS}\nnot this\n")
    return path


@pytest.fixture
async def lab(words: Path) -> AsyncIterator[Lab]:
    """A pair of which one server has its TPM, and the other a passphrase; and one by itself."""
    file = words.parent / "lab.yaml"
    file.write_text(FILE.format(words=words))
    async with Lab("sim", topology=file, seed=3, watched=True, tpm="none") as made:
        yield made


async def server(lab: Lab, kms: str) -> KeyServer:
    return next(row for row in (await lab.do(c.GetKms())).items if row.kms == kms)


async def custody(lab: Lab, kms: str) -> list[str]:
    rows = (await lab.do(c.GetAudit(kms))).items
    return [row.operation for row in rows if row.key_id.startswith(("KEK", "root"))]


async def test_each_server_of_a_lab_file_has_its_root(lab: Lab) -> None:
    roots = {row.kms: (row.root, row.kek) for row in (await lab.do(c.GetKms())).items}
    assert roots == {
        "kms-1": (RootKind.TPM, 1),
        "kms-2": (RootKind.PASSPHRASE, 1),
        "kms-3": (RootKind.KEYFILE, 1),
    }
    await lab.do(c.HostReboot(("kms-1", "kms-2", "kms-3")))
    assert [row.machine.value for row in (await lab.do(c.GetKms())).items] == ["running"] * 3


async def test_a_search_of_disks_and_bus_finds_keys_under_no_root(lab: Lab) -> None:
    """With the key file it finds that file, which is where such a root lies."""
    for kms in ("kms-1", "kms-2"):
        await lab.do(c.KmsRotateKek(kms))
        found = await lab.beside(bench.search_disk, kms)
        assert found.secrets > 0 and not found.leaks and not found.hits, kms
    found = await lab.beside(bench.search_disk, "kms-3")
    assert not found.leaks and found.hits and all("master.key" in hit for hit in found.hits)
    assert not (await lab.beside(bench.search_bus)).hits
    assert await lab.beside(bench.texts_on_bus, [WORDS]) == []
    assert await lab.beside(bench.texts_on_disk, "kms-2", [WORDS]) == []


async def test_a_rotation_is_seen_and_in_the_trail(lab: Lab) -> None:
    keys = (await server(lab, "kms-1")).keys
    told = await lab.do(c.KmsRotateKek("kms-1"))
    assert (told.kek, told.keys) == (2, keys)
    while (await server(lab, "kms-1")).rewrapping is not None:
        await lab.sleep(1)
    assert await custody(lab, "kms-1") == ["Rotate KEK", "Retire KEK"]
    assert (await server(lab, "kms-2")).kek == 1


async def test_another_root_by_a_command(lab: Lab, words: Path) -> None:
    kms = ("kms-3",)
    told = await lab.do(c.KmsSetRoot("kms-3", RootKind.PASSPHRASE, str(words)))
    assert told.root is RootKind.PASSPHRASE
    (down,) = (await lab.do(c.HostPowerLoss(kms))).items
    assert down.machine.value == "halted" and "kmsPassphrase=-" in down.screen
    (back,) = (await lab.do(c.HostPowerOn(kms, {"kmsPassphrase": WORDS}))).items
    assert back.machine.value == "running" and back.boot == down.boot + 1, "it was restarted"
    late = await refused(lab, c.HostPowerOn(kms, {"kmsPassphrase": WORDS}))
    assert "kms-3 is running: boot options are typed at its next start" in str(late)
    assert (await lab.do(c.KmsSetRoot("kms-3", RootKind.KEYFILE))).root is RootKind.KEYFILE
    await lab.do(c.HostReboot(kms))
    assert await custody(lab, "kms-3") == ["Change Root", "Change Root"]
    assert (await server(lab, "kms-3")).root is RootKind.KEYFILE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "id", "said"),
    [
        (c.KmsRotateKek("vcenter"), "KS-USE-002", "vcenter is no key server"),
        (c.KmsRotateKek("kms-9"), "KS-USE-002", "kms-9"),
        (c.KmsSetRoot("kms-3", RootKind.TPM), "KS-PRODUCT-001", "it has none"),
        (c.KmsSetRoot("kms-3", RootKind.KEYFILE), "KS-PRODUCT-001", "already"),
        (c.KmsSetRoot("kms-3", RootKind.PASSPHRASE, "/nowhere/x"), "KS-USE-003", "No such file"),
    ],
)
async def test_what_cannot_be_done_is_told(
    lab: Lab, command: c.Command[KeyServer], id: str, said: str
) -> None:
    error = await refused(lab, command)
    assert error.id == id and said in str(error)


async def test_a_passphrase_that_is_too_short_is_told_with_its_file(lab: Lab, words: Path) -> None:
    words.write_text("short\n")
    error = await refused(lab, c.KmsSetRoot("kms-3", RootKind.PASSPHRASE, str(words)))
    assert error.id == "KS-USE-003" and str(words) in str(error) and "fewer than 12" in str(error)
    words.unlink()
    error = await refused(lab, c.HostReboot(("kms-2",)))
    assert error.id == "KS-USE-003" and str(words) in str(error)


def test_a_passphrase_file_goes_with_the_root_passphrase() -> None:
    from lab.schema.errors import KeysteadError

    for root, file in ((RootKind.TPM, "/a"), (RootKind.PASSPHRASE, ""), (RootKind.PASSPHRASE, "a")):
        with pytest.raises(KeysteadError) as raised:
            c.KmsSetRoot("kms", root, file)
        assert raised.value.id == "KS-USE-003"
