"""A lab of real processes whose vCenter asks a key server outside of it: ``kmip serve``."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.api import commands as c
from lab.client import Lab
from lab.errors import KeysteadError
from tests.lab.kmip.test_serve import serving

PROVIDER = "outside"


@pytest.mark.lab
async def test_keys_of_a_server_outside(tmp_path: Path) -> None:
    """As docs/kmip.md says it: add, hand over vCenter's certificate, trust what it shows."""
    keys, shown = tmp_path / "keys", tmp_path / "vcenter.pem"
    with serving(keys) as (_, first):
        address = first["address"]
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=30, seed=5) as lab:
        added = await lab.do(c.ProviderAdd(PROVIDER, (f"kmip://{address}",)))
        assert (added.servers, added.status) == ((address,), "red")
        [told] = (await lab.do(c.ProviderTrust(PROVIDER))).items
        assert "Connection refused" in told.reason
        shown.write_text((await lab.do(c.ProviderTrust(PROVIDER))).certificate)
        with serving(keys, "--trust", str(shown), "--role", "client", listen=address):
            [told] = (await lab.do(c.ProviderTrust(PROVIDER))).items
            assert (told.client_trust_server, told.server_trust_client) == (False, None)
            [told] = (await lab.do(c.ProviderTrustServers(PROVIDER))).items
            assert (told.client_trust_server, told.server_trust_client) == (True, True)
            await lab.do(c.ProviderDefault(PROVIDER))
            await lab.do(c.VmCreate("vm-new", encrypted=False))
            await lab.do(c.VmEncrypt("vm-new"))
        await lab.do(c.VmCreate("vm-late", encrypted=False))
        with pytest.raises(KeysteadError, match="no server of key provider outside answers"):
            await lab.do(c.VmEncrypt("vm-late"))
