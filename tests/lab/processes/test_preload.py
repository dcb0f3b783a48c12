"""What the fork server has done, no agent does again; and nothing of it stays."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from lab.processes.agents import ROOT
from services.runtime.tpm.backends import missing_for_libtpms

_CODE = """
import json, sys, threading
from lab.processes.preload import real_tpms
real_tpms()
before, threads = set(sys.modules), threading.active_count()
mapped = [line.split()[-1] for line in open("/proc/self/maps") if "libtpms-" in line]
from protocol.messages.agent import TpmBackend
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import MemoryNv
tpm = open_device(TpmBackend.LIBTPMS, MemoryNv())
tpm.power_on()
tpm.ensure_srk()
print(json.dumps([sorted(set(sys.modules) - before), threads, mapped]))
"""


@pytest.mark.tpm
@pytest.mark.skipif(bool(missing_for_libtpms()), reason="no real TPM")
def test_an_agents_first_tpm_imports_nothing_and_the_fork_server_keeps_none() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == [[], 1, []]
