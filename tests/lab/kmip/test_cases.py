"""Conversations in XML against a real key server: what passes, what fails, what is skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.building.course import unheard
from lab.cli.main import run
from lab.kmip.cases import ASTRAY, SHIPPED
from lab.local.kmip import cases
from lab.schema.answers.kmip import PlayedCase
from lab.schema.errors import KeysteadError

VECTORS = os.environ.get("KEYSTEAD_VECTORS", "")
PASSED = 104
HEAD = """<ProtocolVersion><ProtocolVersionMajor type="Integer" value="1"/>
<ProtocolVersionMinor type="Integer" value="2"/></ProtocolVersion>"""


def asked(operation: str, payload: str) -> str:
    return f"""<RequestMessage><RequestHeader>{HEAD}<BatchCount type="Integer" value="1"/>
    </RequestHeader><BatchItem><Operation type="Enumeration" value="{operation}"/>
    <RequestPayload>{payload}</RequestPayload></BatchItem></RequestMessage>"""


def told(operation: str, payload: str, count: int = 1) -> str:
    return f"""<ResponseMessage><ResponseHeader>{HEAD}
    <TimeStamp type="DateTime" value="2012-04-27T08:12:24+00:00"/>
    <BatchCount type="Integer" value="{count}"/></ResponseHeader><BatchItem>
    <Operation type="Enumeration" value="{operation}"/>
    <ResultStatus type="Enumeration" value="Success"/>
    <ResponsePayload>{payload}</ResponsePayload></BatchItem></ResponseMessage>"""


def attribute(name: str, kind: str, value: str) -> str:
    return f"""<Attribute><AttributeName type="TextString" value="{name}"/>
    <AttributeValue type="{kind}" value="{value}"/></Attribute>"""


KIND = '<ObjectType type="Enumeration" value="SymmetricKey"/>'
ID = '<UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>'
TEMPLATE = f"""<TemplateAttribute>{attribute("Cryptographic Algorithm", "Enumeration", "AES")}
{attribute("Cryptographic Length", "Integer", "128")}
{attribute("Cryptographic Usage Mask", "Integer", "Encrypt")}
{attribute("Activation Date", "DateTime", "$NOW-3600")}</TemplateAttribute>"""
SECRET = "00112233445566778899aabbccddeeff"
BLOCK = f"""<SymmetricKey><KeyBlock><KeyFormatType type="Enumeration" value="Raw"/><KeyValue>
<KeyMaterial type="ByteString" value="{SECRET}"/></KeyValue>
<CryptographicAlgorithm type="Enumeration" value="AES"/>
<CryptographicLength type="Integer" value="128"/></KeyBlock></SymmetricKey>"""
CONVERSATION = "\n".join(
    [
        "<KMIP>",
        asked("Register", KIND + TEMPLATE + BLOCK),
        told("Register", ID),
        asked("Get", ID),
        told("Get", KIND + ID + BLOCK),
        asked("GetAttributes", ID),
        told(
            "GetAttributes",
            ID
            + attribute("State", "Enumeration", "Active")
            + attribute("Activation Date", "DateTime", "$NOW-3600")
            + attribute("Initial Date", "DateTime", "$NOW"),
        ),
        "</KMIP>",
    ]
)


def played(where: Path, **files: str) -> list[PlayedCase]:
    for name, text in files.items():
        (where / f"{name}.xml").write_text(text)
    return list(cases(where, unheard).cases)


def test_shipped_conversations_pass() -> None:
    answer = cases(SHIPPED, unheard)
    assert [one for one in answer.cases if one.result != "passed"] == []
    assert answer.passed >= 9


def test_a_conversation_that_goes_as_it_says(tmp_path: Path) -> None:
    [one] = played(tmp_path, one=CONVERSATION)
    assert one == PlayedCase(file="one.xml", result="passed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "where"),
    [
        ("Active", "PreActive", "AttributeValue"),
        (SECRET + '"/></KeyValue>', SECRET[:-2] + 'fe"/></KeyValue>', "KeyMaterial"),
        ('value="128"/></KeyBlock>', 'value="192"/></KeyBlock>', "CryptographicLength"),
        ("$NOW-3600", "$NOW-7200", "another moment"),
        ("Initial Date", "Destroy Date", "Destroy Date"),
        ("Success", "OperationFailed", "ResultStatus"),
        ('Minor type="Integer" value="2"', 'Minor type="Integer" value="1"', "Minor"),
    ],
)
def test_an_expectation_that_is_changed_fails(
    tmp_path: Path, right: str, wrong: str, where: str
) -> None:
    """Only the last place is changed: that of the answer."""
    before, found, after = CONVERSATION.rpartition(right)
    assert found
    [one] = played(tmp_path, one=before + wrong + after)
    assert one.result == "failed"
    assert where in one.why


def test_an_item_too_few_fails(tmp_path: Path) -> None:
    more = CONVERSATION.replace("</BatchItem></ResponseMessage>\n</KMIP>", "</BatchItem>{}", 1)
    item = "<BatchItem><ResultStatus type='Enumeration' value='Success'/></BatchItem>"
    text = more.format(item + "</ResponseMessage></KMIP>")
    [one] = played(tmp_path, one=text)
    assert (one.result, "2 items are expected, 1 are there" in one.why) == ("failed", True)


def test_what_is_not_built_is_skipped_and_says_why(tmp_path: Path) -> None:
    archive = f"<KMIP>{asked('Archive', ID)}{told('Archive', ID)}</KMIP>"
    policy = CONVERSATION.replace("Initial Date", "Operation Policy Name").replace(
        'DateTime" value="$NOW"', 'TextString" value="default"'
    )
    later = f"<KMIP>{asked('Locate', '')}{told('Locate', ID)}</KMIP>"
    empty, broken = "<KMIP></KMIP>", "<KMIP>"
    found = played(
        tmp_path, archive=archive, broken=broken, empty=empty, later=later, policy=policy
    )
    assert [(one.file, one.result, one.why) for one in found] == [
        ("archive.xml", "skipped", "operation Archive"),
        ("broken.xml", "failed", found[1].why),
        ("empty.xml", "failed", "a conversation without messages"),
        ("later.xml", "skipped", "it begins with UNIQUE_IDENTIFIER_0, of a conversation before it"),
        (
            "policy.xml",
            "skipped",
            "attribute Operation Policy Name, which is expected in an answer",
        ),
    ]


CIPHER_KEY = TEMPLATE.replace(
    "</TemplateAttribute>",
    """<Attribute><AttributeName type="TextString" value="Cryptographic Parameters"/>
    <AttributeValue><BlockCipherMode type="Enumeration" value="CBC"/>
    <PaddingMethod type="Enumeration" value="None"/>
    <RandomIV type="Boolean" value="true"/></AttributeValue></Attribute></TemplateAttribute>""",
).replace('value="Encrypt"', 'value="Encrypt Decrypt"')


def data(value: str) -> str:
    return f'<Data type="ByteString" value="{value}"/>'


def encrypted(named: str, iv: str) -> str:
    """A key and an IV that the server draws; ``named`` and ``iv`` are what Decrypt is sent."""
    vector = '<IVCounterNonce type="ByteString" value="{}"/>'
    return "\n".join(
        [
            "<KMIP>",
            asked("Create", KIND + CIPHER_KEY),
            told("Create", KIND + ID),
            asked("Encrypt", ID + data(SECRET)),
            told("Encrypt", ID + data("ab" * 16) + vector.format("cd" * 16)),
            asked("Decrypt", ID + data(named) + vector.format(iv)),
            told("Decrypt", ID + data(SECRET)),
            "</KMIP>",
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "iv"),
    [("$DATA_0", "$IV_COUNTER_NONCE"), ("$DATA", "cd" * 16), ("ab" * 16, "cd" * 16)],
)
def test_bytes_that_the_server_draws_are_not_those_of_the_file(
    tmp_path: Path, named: str, iv: str
) -> None:
    """By whichever name later requests have them; what is decrypted is judged all the same."""
    text = encrypted(named, iv)
    assert [one.why for one in played(tmp_path, one=text)] == [""]
    before, found, after = text.rpartition(SECRET)
    [wrong] = played(tmp_path, one=before + "ff" * 16 + after)
    assert (wrong.result, bool(found)) == ("failed", True)
    assert "message 3" in wrong.why


def test_what_a_server_says_of_itself_is_its_own(tmp_path: Path) -> None:
    """The fields have to be there, not their values, and one generator is enough."""
    curve = '<RecommendedCurve type="Enumeration" value="P_256"/>'
    generator = f"""<RNGParameters><RNGAlgorithm type="Enumeration" value="DRBG"/>{curve}
    </RNGParameters>"""
    able = """<CapabilityInformation><StreamingCapability type="Boolean" value="true"/>
    <UnwrapMode type="Enumeration" value="NotProcessed"/></CapabilityInformation>"""
    functions = "".join(
        f'<QueryFunction type="Enumeration" value="Query{one}"/>'
        for one in ("RNGs", "Capabilities")
    )
    text = f"<KMIP>{asked('Query', functions)}{told('Query', generator * 2 + able)}</KMIP>"
    newer = text.replace('Minor type="Integer" value="2"', 'Minor type="Integer" value="4"')
    profile = (
        '<ProfileInformation><ProfileName type="Enumeration" value="Odd"/></ProfileInformation>'
    )
    claimed = f"<KMIP>{asked('Query', functions)}{told('Query', profile)}</KMIP>"
    found = played(tmp_path, a_newer=newer, b_older=text, c_claimed=claimed)
    assert [one.result for one in found] == ["passed", "failed", "skipped"]
    assert "RNGParameters is missing" in found[1].why
    assert found[2].why == "claims of a profile, which is expected in an answer"


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.xml").write_text(CONVERSATION)
    assert run(["kmip", "cases", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "one.xml passed\n"
    (tmp_path / "two.xml").write_text(CONVERSATION.replace('"Active"', '"Compromised"'))
    assert run(["kmip", "cases", str(tmp_path), "-o", "json"]) == 1
    assert '"failed": 1' in capsys.readouterr().out
    for folder in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(KeysteadError, match="there is no"):
            cases(folder, unheard)


@pytest.mark.slow
@pytest.mark.skipif(not VECTORS, reason="KEYSTEAD_VECTORS names no folder with cases of OASIS")
def test_the_cases_of_oasis() -> None:
    """Of KMIP 1.0 to 1.2 those that can be played pass."""
    found = cases(Path(VECTORS), unheard)
    assert [one.file for one in found.cases if one.result == "failed"] == []
    assert found.passed >= PASSED
    skipped = [one for one in found.cases if one.result == "skipped"]
    assert all(one.why for one in skipped)


@pytest.mark.skipif(not VECTORS, reason="KEYSTEAD_VECTORS names no folder with cases of OASIS")
@pytest.mark.parametrize("name", ASTRAY)
def test_a_case_that_is_skipped_by_its_name_fails(name: str, tmp_path: Path) -> None:
    """So the list hides nothing that passes."""
    files = list(Path(VECTORS).rglob(f"{name}.xml"))
    if not files:
        pytest.skip(f"{name}.xml is not in KEYSTEAD_VECTORS")
    [file] = files
    (tmp_path / "renamed.xml").write_bytes(file.read_bytes())
    [one] = cases(tmp_path, unheard).cases
    assert one.result == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("word", ["list", "version"])
def test_a_command_line_imports_no_key_server(word: str) -> None:
    """Answers are told by what they are made of, and most commands serve nothing."""
    words = [sys.executable, "-X", "importtime", "-m", "lab.cli.main", word]
    imported = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    assert "lab.schema.answers" in imported
    assert [name for name in ("services.kms.service", "OpenSSL") if name in imported] == []
