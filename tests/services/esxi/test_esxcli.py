"""``esxcli`` at a host's console: exact texts, exit codes, and every way to mistype."""

from __future__ import annotations

import re

import pytest

from protocol.messages.agent import TpmBackend
from protocol.secret import KeyMaterial
from protocol.terms import ProtectionMode
from services.esxi import esxcli
from services.esxi.configuration.recovery import RecoveryKey
from tests.services.esxi.rig import Rig

GROUPS = r"(\d{6}-){15}\d{6}"
UUID = r"\{[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}\}"


def test_exact_texts() -> None:
    assert esxcli.persistence_text(True) == "Enabled: true"
    assert esxcli.persistence_text(False) == "Enabled: false"
    assert esxcli.encryption_text(ProtectionMode.TPM, exec_only=False, secure_boot=True) == (
        "   Mode: TPM\n"
        "   Require Executables Only From Installed VIBs: false\n"
        "   Require Secure Boot: true"
    )
    assert esxcli.trustedboot_text(True) == "   Drtm Enabled: false\n   Tpm Present: true"
    key = RecoveryKey("{2DDD5424-7F3F-406A-8DA8-D62630F6C8BC}", KeyMaterial(b"478269-039194"))
    assert esxcli.recovery_text(key).splitlines() == [
        "Recovery ID                             Key",
        "--------------------------------------  ---",
        "{2DDD5424-7F3F-406A-8DA8-D62630F6C8BC}  478269-039194",
    ]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("system security keypersistence get", esxcli.PersistenceGet()),
        ("system security keypersistence disable", esxcli.PersistenceDisable()),
        (
            "system security keypersistence disable --remove-all-stored-keys",
            esxcli.PersistenceDisable(remove_all=True),
        ),
        (
            "system settings encryption set --mode=TPM --require-secure-boot=T",
            esxcli.EncryptionSet(ProtectionMode.TPM, require_secure_boot=True),
        ),
        (
            "system settings encryption set -m TPM -s F -e true",
            esxcli.EncryptionSet(ProtectionMode.TPM, False, True),
        ),
        ("system settings encryption recovery rotate", esxcli.RecoveryRotate()),
        ("system settings encryption recovery rotate -k x -u y", esxcli.RecoveryRotate("x", "y")),
        (
            "system settings kernel set -s execInstalledOnly -v TRUE",
            esxcli.KernelSet("execInstalledOnly", "TRUE"),
        ),
        ("hardware trustedboot get", esxcli.TrustedBootGet()),
    ],
)
def test_parsing(line: str, command: object) -> None:
    assert esxcli.parse(line.split()) == command


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("", "Error: Unknown command or namespace "),
        ("system foo", "Error: Unknown command or namespace system foo"),
        (
            "system security keypersistence",
            "Error: Unknown command or namespace system security keypersistence",
        ),
        ("system security keypersistence get x", "Error: Invalid option x"),
        ("system security keypersistence disable --remove", "Error: Invalid option --remove"),
        ("system settings encryption set", "Error: Missing required parameter --mode"),
        ("system settings encryption set --mode", "Error: Missing value for option --mode"),
        (
            "system settings encryption set --mode=tpm",
            "Error: Invalid value for option --mode: tpm",
        ),
        (
            "system settings encryption set --require-secure-boot=maybe",
            "Error: Invalid value for option --require-secure-boot: maybe",
        ),
    ],
)
def test_mistakes(rig: Rig, line: str, text: str) -> None:
    rig.up()
    result = rig.esxcli(line)
    assert (result.exit_code, result.output) == (1, text)


def test_persistence_on_and_off(rig: Rig) -> None:
    rig.up()
    for command, enabled in (("enable", "true"), ("enable", "true"), ("disable", "false")):
        result = rig.esxcli(f"system security keypersistence {command}")
        assert (result.exit_code, result.output) == (0, "")
        got = rig.esxcli("system security keypersistence get")
        assert (got.exit_code, got.output) == (0, f"Enabled: {enabled}")


def test_a_host_without_tpm_is_refused_with_a_text_that_names_it(rig: Rig) -> None:
    """KP-01: and it stays off, also after a reboot."""
    rig.up(tpm=TpmBackend.NONE)
    assert "   Mode: NONE" in rig.esxcli("system settings encryption get").output
    assert "Tpm Present: false" in rig.esxcli("hardware trustedboot get").output
    refused = rig.esxcli("system security keypersistence enable")
    assert refused.exit_code == 1
    assert "TPM" in refused.output
    for way in ("stop", "power_loss"):
        assert rig.esxcli("system security keypersistence get").output == "Enabled: false"
        rig.reboot(way=way)
    for line in (
        "system settings encryption set --mode=TPM",
        "system settings encryption set --require-secure-boot=T",
        "system settings encryption recovery list",
        "system settings encryption recovery rotate",
    ):
        result = rig.esxcli(line)
        assert result.exit_code == 1
        assert "TPM" in result.output


def test_encryption_and_recovery_of_a_host_with_tpm(rig: Rig) -> None:
    rig.up()
    assert rig.esxcli("system settings encryption get").output == (
        "   Mode: TPM\n"
        "   Require Executables Only From Installed VIBs: false\n"
        "   Require Secure Boot: true"
    )
    table = rig.esxcli("system settings encryption recovery list").output.splitlines()
    assert re.fullmatch(f"{UUID}  {GROUPS}", table[2])
    undo = rig.esxcli("system settings encryption set --mode=NONE")
    assert (undo.exit_code, undo.output) == (1, "Error: Mode TPM cannot be undone.")


def test_rotating_names_the_key_it_rotates(rig: Rig) -> None:
    rig.up()
    rotate = "system settings encryption recovery rotate"
    before = rig.summary().recovery_id
    assert rig.esxcli(f"{rotate} -k {{00000000-0000-4000-8000-000000000000}}").exit_code == 1
    assert rig.esxcli(f"{rotate} -u nonsense").exit_code == 1
    assert rig.summary().recovery_id == before
    wanted = "{0F0E0D0C-0B0A-4000-8000-000000000001}"
    assert rig.esxcli(f"{rotate} -k {before} -u {wanted.lower()}").exit_code == 0
    assert rig.summary().recovery_id == wanted
