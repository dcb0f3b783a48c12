"""The page about campaigns shows what is really printed; a trace is README's to pin."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.docs.test_commands import ROOT, Shell, commands, same

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(300)]
_OWN = re.compile(r"\S+/campaigns/|trace [0-9a-f]{16}")


def test_it_tells_the_truth(tmp_path: Path) -> None:
    shell = Shell(tmp_path, folder=ROOT)
    shown = list(commands((ROOT / "docs/fuzzing.md").read_text("utf-8")))
    assert len(shown) == 3
    for command in shown:
        code, seen, errors = shell.run(command.words)
        wanted = [_OWN.sub("", line) for line in command.output]
        printed = [_OWN.sub("", line) for line in seen]
        assert code == ("--patch" in command.words), errors
        assert same(wanted, printed), f"{shlex.join(command.words)}\n" + "\n".join(seen)
