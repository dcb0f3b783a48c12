"""What a person sees of a key's attributes is what the key server has."""

from __future__ import annotations

import json

import pytest

from lab.cli.invocation import Format
from lab.cli.options import Options
from lab.cli.results import print_answer
from lab.schema.answers import Key, KeyAttribute
from lab.schema.commands import KmsKeyShow
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.attributes import ObjectDigest, ObjectName, format_value
from protocol.messages.kms.keys import AddAttribute, CreateKey, GetKeyAttributes
from protocol.terms import NodeName

pytestmark = pytest.mark.sim

KMS = NodeName("kms")


@pytest.fixture(scope="module")
def key() -> Key:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model")), 3)

    async def described() -> Key:
        made = await lab.ask(KMS, CreateKey(operation_id="1", activate=True))
        for name, value in (
            ("Name", ObjectName(value="primary")),
            ("x-Name", "vm-01"),
            ("x-Name", "vm-02"),
        ):
            await lab.ask(KMS, AddAttribute(key_id=made.key_id, name=name, value=value))
        asked = GetKeyAttributes(key_id=made.key_id, names=("Digest",))
        [digest] = (await lab.ask(KMS, asked)).attributes
        assert isinstance(digest.value, ObjectDigest)
        shown = await perform(session, KmsKeyShow(made.key_id))
        assert isinstance(shown, Key)
        assert shown.attributes[:2] == (
            KeyAttribute(name="Object Type", index=0, value="Symmetric Key"),
            KeyAttribute(name="Digest", index=0, value=f"SHA-256 {digest.value.digest.hex()}"),
        )
        return shown

    shown = lab.run(described())
    lab.loop.close()
    return shown


def test_names_and_attributes_are_shown(key: Key) -> None:
    assert key.names == ("primary",)
    assert key.attributes[2:] == (
        KeyAttribute(name="Fresh", index=0, value="True"),
        KeyAttribute(name="Original Creation Date", index=0, value=format_value(key.initial_date)),
        KeyAttribute(name="Lease Time", index=0, value="3600"),
        KeyAttribute(name="Random Number Generator", index=0, value="Unspecified"),
        KeyAttribute(name="Sensitive", index=0, value="False"),
        KeyAttribute(name="Always Sensitive", index=0, value="False"),
        KeyAttribute(name="Extractable", index=0, value="True"),
        KeyAttribute(name="Never Extractable", index=0, value="False"),
        KeyAttribute(name="x-Name", index=0, value="vm-01"),
        KeyAttribute(name="x-Name", index=1, value="vm-02"),
    )


@pytest.mark.parametrize("output", [Format.TABLE, Format.WIDE, Format.JSON])
def test_a_terminal_shows_them(
    key: Key, output: Format, capsys: pytest.CaptureFixture[str]
) -> None:
    print_answer(KmsKeyShow(key.key_id), key, Options(output=output))
    out = capsys.readouterr().out
    assert "primary" in out
    assert ("vm-02" in out) is (output is not Format.TABLE)
    if output is Format.JSON:
        assert json.loads(out)["names"] == ["primary"]
