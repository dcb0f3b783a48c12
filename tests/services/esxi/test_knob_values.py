"""Each value of a host's knobs that answers an open question, seen at a whole host."""

from __future__ import annotations

import pytest

from protocol.errors import EncryptionKeyRequired
from protocol.messages.agent import Firmware, TpmBackend
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import ChangeHostKey, DecryptDump, ListDumps, WriteDump
from protocol.terms import CryptoKeyId, KeyId
from tests.services.esxi.rig import HOST_KEY, PROVIDER, Rig, key, material
from tests.services.esxi.test_native import ready

PERSISTENCE = "system security keypersistence"
EXEC_ONLY = "system settings encryption set --require-exec-installed-only=T"
OTHER = CryptoKeyId(KeyId("another-host-key"), PROVIDER)


@pytest.mark.parametrize(("keeps", "stored"), [(True, 2), (False, 0)])
def test_disabling_without_the_flag(rig: Rig, keeps: bool, stored: int) -> None:
    """C9: what is kept is of use when persistence is enabled again, and only then."""
    rig.up(knobs={"disable_keeps_store": keeps})
    rig.make_safe()
    rig.add_keys(key("a"))
    rig.esxcli(f"{PERSISTENCE} enable")
    rig.esxcli(f"{PERSISTENCE} disable")
    rig.reboot()
    assert (rig.summary().cached_keys, rig.summary().stored_keys) == (0, stored)
    rig.esxcli(f"{PERSISTENCE} enable")
    rig.reboot()
    assert rig.summary().cached_keys == stored


@pytest.mark.parametrize(("allowed", "exit_code"), [(True, 0), (False, 1)])
def test_persistence_of_a_native_host_without_tpm(rig: Rig, allowed: bool, exit_code: int) -> None:
    """C19: where it is allowed, the host's log warns that nothing protects the store."""
    ready(rig, tpm=TpmBackend.NONE, knobs={"kp_native_without_tpm": allowed})
    enabled = rig.esxcli(f"{PERSISTENCE} enable")
    assert enabled.exit_code == exit_code
    assert rig.summary().key_persistence is allowed
    assert [len(rig.kinds("persistence.unprotected"))] == [int(allowed)]
    if not allowed:
        assert "this host has no TPM" in enabled.output


@pytest.mark.parametrize(("needs", "exit_code"), [(True, 1), (False, 0)])
def test_executables_are_enforced_without_secure_boot(
    rig: Rig, needs: bool, exit_code: int
) -> None:
    """C20."""
    rig.up(firmware=Firmware(secure_boot=False), knobs={"reqeio_needs_reqsb": needs})
    rig.esxcli("system settings kernel set -s execInstalledOnly -v TRUE")
    rig.reboot()
    done = rig.esxcli(EXEC_ONLY)
    assert done.exit_code == exit_code
    assert ("requires Secure Boot" in done.output) is needs


@pytest.mark.parametrize("rewrap", [True, False])
def test_dumps_of_the_old_host_key(rig: Rig, rewrap: bool) -> None:
    """C27."""
    rig.up(knobs={"rewrap_dumps": rewrap})
    rig.make_safe()
    rig.console(WriteDump(dump="vmkernel-zdump.1", marker=b"what only the test knows"))
    rig.command(ChangeHostKey(key=OTHER, material=Sealed.of(material(OTHER))))
    (dump,) = rig.console(ListDumps()).dumps
    assert (dump.key, dump.readable) == ((OTHER, True) if rewrap else (HOST_KEY, False))
    if rewrap:
        assert rig.console(DecryptDump(dump=dump.dump)).content.endswith(b"only the test knows")
        return
    assert isinstance(rig.refused_door(DecryptDump(dump=dump.dump)), EncryptionKeyRequired)
    assert [left["reason"] for left in rig.kinds("dump.left")] == [
        "dumps are not taken along here (rewrap_dumps)"
    ]
    rig.add_keys(HOST_KEY)  # whoever brings the old key again can read it (DUMP-02)
    assert rig.console(DecryptDump(dump=dump.dump)).content.endswith(b"only the test knows")
