"""The event loop that holds a lab opens no file that people have named."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import RootKind
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.lab


class Opened:
    """Paths that one thread touches, while ``on``. An audit hook cannot be taken away again."""

    def __init__(self) -> None:
        self.on, self.paths = False, set[str]()
        self._thread = threading.get_ident()
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or threading.get_ident() != self._thread:
            return
        if event == "open" or event.startswith(("os.", "shutil.")):
            found = [one for one in arguments if isinstance(one, str | os.PathLike)]
            self.paths.update(os.fspath(path) for path in found)


@pytest.fixture
def opened() -> Iterator[Opened]:
    made = Opened()
    yield made
    made.on = False


@pytest.mark.slow
async def test_files_of_commands_and_of_a_lab_file_are_opened_elsewhere(
    tmp_path: Path, opened: Opened
) -> None:
    named = tmp_path / "named by people"
    named.mkdir()
    words, backup, file = named / "words", str(named / "nkp.p12"), tmp_path / "lab.yaml"
    words.write_text("correct horse battery staple\n")
    file.write_text(f"""\
apiVersion: keystead/v1
kind: Lab
pace: 100
vcenters: [{{name: vcenter}}]
kms: [{{name: kms, root: passphrase, passphrase_file: {words}}}]
providers: [{{name: standard, servers: [kms]}}]
clusters: [{{name: a, hosts: {{count: 1, tpm: none}}, vms: {{count: 0, provider: standard}}}}]
""")
    opened.on = True
    async with Lab("lab", topology=file) as lab:
        await lab.do(c.ProviderCreate("nkp"))
        await lab.do(c.ProviderExport("nkp", backup, str(words)))
        told = await refused(lab, c.ProviderImport(backup, str(words)))
        assert told.id == "KS-PRODUCT-001"
        await lab.do(c.KmsSetRoot("kms", RootKind.KEYFILE))
        await lab.do(c.KmsSetRoot("kms", RootKind.PASSPHRASE, str(words)))
        await lab.do(c.HostReboot(("kms",)))
    opened.on = False
    assert len(opened.paths) > 20, "it hears of the lab's own files"
    touched = {path for path in opened.paths if path.startswith(str(named))}
    assert touched == set()
