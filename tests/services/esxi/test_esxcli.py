"""``esxcli`` at a host's console: exact texts, exit codes, and every way to mistype."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from protocol.messages.agent import TpmBackend
from protocol.terms import ProtectionMode
from services.esxi import esxcli
from services.esxi.esxcli import Formatter, Output, OutputRecord, one, render
from tests.services.esxi.rig import VM, Rig

GROUPS = r"(\d{6}-){15}\d{6}"
UUID = r"\{[0-9A-F]{8}-[0-9A-F]{4}-4[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}\}"


BOTH = (
    ("Drtm Enabled", False),
    ("Tpm Present", True),
)


def test_exact_texts() -> None:
    assert render(one("X", *BOTH), None) == "   Drtm Enabled: false\n   Tpm Present: true"
    identity = "{2DDD5424-7F3F-406A-8DA8-D62630F6C8BC}"
    key = OutputRecord((("Recovery ID", identity), ("Key", "478269-039194")))
    assert render(Output("RecoveryKey", (key,), listed=True, table=True), None).splitlines() == [
        "Recovery ID                             Key",
        "--------------------------------------  ---",
        "{2DDD5424-7F3F-406A-8DA8-D62630F6C8BC}  478269-039194",
    ]
    assert render(Output("VirtualMachine", (), listed=True), None) == ""


@pytest.mark.parametrize(
    ("formatter", "listed", "text"),
    [
        (Formatter.CSV, False, "A,BC,\n1,x y,"),
        (Formatter.CSV, True, 'A,BC,\n1,x y,\ntrue,"a,b",'),
        (Formatter.KEYVALUE, False, "X.A.integer=1\nX.BC.string=x y"),
        (
            Formatter.KEYVALUE,
            True,
            "X[0].A.integer=1\nX[0].BC.string=x y\nX[1].A.boolean=true\nX[1].BC.string=a,b",
        ),
        (Formatter.JSON, False, '{\n  "A": 1,\n  "BC": "x y"\n}'),
    ],
)
def test_forms(formatter: Formatter, listed: bool, text: str) -> None:
    first = OutputRecord((("B C", "x y"), ("A", 1)), title="t")
    records = (first, OutputRecord((("B C", "a,b"), ("A", True)))) if listed else (first,)
    assert render(Output("X", records, listed=listed), formatter) == text


def test_xml_can_be_read() -> None:
    record = OutputRecord((("B C", "<&>"), ("A", False)))
    text = render(Output("X", (record,), listed=True), Formatter.XML)
    root = ElementTree.fromstring(text)  # noqa: S314 - our own
    space = "{http://www.vmware.com/Products/ESX/5.0/esxcli/}"
    found = [
        (field.get("name"), field[0].tag.removeprefix(space), field[0].text)
        for field in root.iter(f"{space}field")
    ]
    assert found == [("A", "boolean", "false"), ("BC", "string", "<&>")]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("system security keypersistence get", esxcli.PersistenceGet()),
        ("system security keypersistence disable", esxcli.PersistenceDisable()),
        (
            "system security keypersistence disable --remove-all-stored-keys=false",
            esxcli.PersistenceDisable(remove_all=False),
        ),
        ("system security keypersistence disable -r=no", esxcli.PersistenceDisable()),
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
        ("system version get", esxcli.VersionGet()),
        ("vm process list", esxcli.VmProcessList()),
        ("system settings kernel list", esxcli.KernelList()),
        (
            "system settings kernel list -o execInstalledOnly",
            esxcli.KernelList("execInstalledOnly"),
        ),
        ("/sbin/auto-backup.sh", esxcli.AutoBackup()),
        ("auto-backup.sh", esxcli.AutoBackup()),
        ("esxcli hardware trustedboot get", esxcli.TrustedBootGet()),
    ],
)
def test_parsing(line: str, command: object) -> None:
    assert esxcli.parse(line.split()) == esxcli.EsxcliCommandLine(command)  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["--formatter=csv", "--formatter csv", "esxcli --formatter=csv"])
def test_a_formatter_stands_before_the_namespace(line: str) -> None:
    words = [*line.split(), "hardware", "trustedboot", "get"]
    assert esxcli.parse(words) == esxcli.EsxcliCommandLine(esxcli.TrustedBootGet(), Formatter.CSV)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            "system security keypersistence",
            "Usage: esxcli system security keypersistence {cmd} [cmd options]\n\n"
            "Available Commands:\n"
            "  disable               Disable key persistence.\n"
            "  enable                Enable key persistence.\n"
            "  get                   Get whether key persistence is enabled.",
        ),
        (
            "esxcli system settings encryption --help",
            "Usage: esxcli system settings encryption {cmd} [cmd options]\n\n"
            "Available Namespaces:\n"
            "  recovery              Commands of esxcli system settings encryption recovery.\n\n"
            "Available Commands:\n"
            "  get                   Get the encryption mode and policy.\n"
            "  set                   Set the encryption mode and policy.",
        ),
        (
            "system security keypersistence disable --help",
            "Usage: esxcli system security keypersistence disable [cmd options]\n\n"
            "Description:\n"
            "  disable               Disable key persistence.\n\n"
            "Cmd options:\n"
            "  -r|--remove-all-stored-keys",
        ),
    ],
)
def test_a_bare_namespace_lists_its_commands(rig: Rig, line: str, text: str) -> None:
    rig.up()
    result = rig.esxcli(line)
    assert (result.exit_code, result.output) == (0, text)


@pytest.mark.parametrize("line", ["", "esxcli", "--help"])
def test_nothing_lists_the_namespaces(rig: Rig, line: str) -> None:
    rig.up()
    result = rig.esxcli(line)
    assert result.exit_code == 0
    assert [text.split()[0] for text in result.output.splitlines()[3:]] == [
        "hardware",
        "system",
        "vm",
    ]


def test_version_processes_and_settings(rig: Rig) -> None:
    rig.up()
    assert rig.esxcli("system version get").output == (
        "   Product: VMware ESXi\n"
        "   Version: 8.0.3\n"
        "   Build: Releasebuild-24022510\n"
        "   Update: 3\n"
        "   Patch: 0"
    )
    assert rig.esxcli("vm process list").output == ""
    rig.make_safe()
    rig.encrypted_vm()
    listed = rig.esxcli("esxcli vm process list").output.splitlines()
    assert listed[0] == VM
    assert f"   Display Name: {VM}" in listed
    assert "   Config File: /vmfs/volumes/datastore-1/vm-01/vm-01.vmx" in listed
    rows = rig.esxcli("--formatter=csv vm process list").output.splitlines()
    assert rows[0] == "ConfigFile,DisplayName,ProcessID,UUID,WorldID,"
    assert len(rows) == 2

    def setting() -> list[str]:
        table = rig.esxcli("system settings kernel list -o execInstalledOnly").output
        return table.splitlines()[2].split()[:5]

    assert setting() == ["execInstalledOnly", "Bool", "FALSE", "FALSE", "FALSE"]
    rig.esxcli("system settings kernel set -s execInstalledOnly -v TRUE")
    assert setting() == ["execInstalledOnly", "Bool", "TRUE", "FALSE", "FALSE"]
    rig.reboot()
    assert setting() == ["execInstalledOnly", "Bool", "TRUE", "TRUE", "FALSE"]


def test_the_backup_script_saves_the_configuration(rig: Rig) -> None:
    """DUR-01: and what it saved outlives a loss of power."""
    rig.up(knobs={"config_save": "hourly"})
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    saved = rig.esxcli("/sbin/auto-backup.sh")
    assert (saved.exit_code, saved.output) == (0, "Saving current state in /bootbank")
    rig.reboot(way="power_loss")
    assert rig.summary().stored_keys == 1


def test_a_disk_that_refuses_is_told_in_words(rig: Rig) -> None:
    rig.up()
    rig.store().full = True
    for line in ("system security keypersistence enable", "/sbin/auto-backup.sh"):
        refused = rig.esxcli(line)
        assert refused.exit_code == 1
        assert refused.output == (
            "Error: the configuration could not be saved: No space left on device"
        )
    refused = rig.esxcli("system settings kernel set -s execInstalledOnly -v TRUE")
    assert refused.output == "Error: bootbank/boot.cfg could not be saved: No space left on device"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("system foo", "Error: Unknown command or namespace system foo"),
        (
            "--formatter=yaml system version get",
            "Error: Invalid value for option --formatter: yaml (it is csv, json, keyvalue, xml)",
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
        assert (got.exit_code, got.output) == (0, f"   Enabled: {enabled}")


def test_a_host_without_tpm_is_refused_with_a_text_that_names_it(rig: Rig) -> None:
    """KP-01: and it stays off, also after a reboot."""
    rig.up(tpm=TpmBackend.NONE)
    assert "   Mode: NONE" in rig.esxcli("system settings encryption get").output
    assert "Tpm Present: false" in rig.esxcli("hardware trustedboot get").output
    refused = rig.esxcli("system security keypersistence enable")
    assert refused.exit_code == 1
    assert "TPM" in refused.output
    for way in ("stop", "power_loss"):
        assert rig.esxcli("system security keypersistence get").output == "   Enabled: false"
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
