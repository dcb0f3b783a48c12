"""What classes say of their bytes: complete, as the registry has it, and held by the functions."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.kmip import algorithms, enums, message, objects, payloads
from protocol.kmip import objects as structure_module
from protocol.kmip.compiler import decoder_of, encoder_of, source_of
from protocol.kmip.enums import Code, Operation, spell_name
from protocol.kmip.fields import Chosen, Fields, fields_of
from protocol.kmip.message import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from protocol.kmip.objects import ATTRIBUTES, Attribute
from protocol.kmip.payloads import PAYLOADS
from protocol.kmip.tags import Tag
from tests.protocol.kmip.schemas import requests, responses, structs

CLASSES: list[type[Fields]] = sorted(
    {
        value
        for module in (objects, message, message, objects, payloads, structure_module)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Fields) and value is not Fields
    },
    key=lambda cls: cls.__name__,
)
ANY = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=10)


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
@ANY
@given(st.data())
def test_any_struct_comes_back(cls: type[Fields], data: st.DataObject) -> None:
    value = data.draw(structs(cls))
    raw = encoder_of(cls)(value)
    back = decoder_of(cls)(raw, 0, len(raw), 1)
    assert back == value
    assert encoder_of(cls)(back) == raw


@pytest.mark.slow
@ANY
@given(requests())
def test_any_request_comes_back(given_message: message.RequestMessage) -> None:
    data = encode_request(given_message)
    assert decode_request(data) == given_message


@ANY
@given(responses())
def test_any_response_comes_back(given_message: message.ResponseMessage) -> None:
    data = encode_response(given_message)
    assert decode_response(data) == given_message


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_field_has_the_tag_of_its_name(cls: type[Fields]) -> None:
    for field in fields_of(cls):
        for form in field.forms:
            if form.tag is not None and field.name != "object":
                assert form.tag is Tag[field.name.upper()]


def test_every_operation_that_the_server_is_to_have_is_typed() -> None:
    wanted = """
        DISCOVER_VERSIONS QUERY CREATE REGISTER GET GET_ATTRIBUTES GET_ATTRIBUTE_LIST ADD_ATTRIBUTE
        MODIFY_ATTRIBUTE DELETE_ATTRIBUTE ACTIVATE REVOKE DESTROY LOCATE ENCRYPT DECRYPT
        CHECK GET_USAGE_ALLOCATION OBTAIN_LEASE RE_KEY
    """
    assert {operation.name for operation in PAYLOADS} == set(wanted.split())
    for operation, pair in PAYLOADS.items():
        name = operation.label
        assert [cls.__name__ for cls in pair] == [f"{name}Request", f"{name}Response"]


def test_the_value_of_every_attribute_has_one_form() -> None:
    assert len(ATTRIBUTES) > 40
    for name in ATTRIBUTES:
        assert name.replace(" ", "").replace(".", "").replace("#", "") in {
            tag.label.replace("_", "") for tag in Tag
        }


def test_numbers_and_names_are_those_of_the_specification() -> None:
    assert (Tag.ACTIVATION_DATE, Tag.REPLACE_EXISTING) == (0x420001, 0x420124)
    assert (Tag.REQUEST_MESSAGE, Tag.BATCH_ITEM, Tag.KEY_MATERIAL) == (0x420078, 0x42000F, 0x420043)
    assert (Operation.DISCOVER_VERSIONS, Operation.ADD_ATTRIBUTE) == (0x1E, 0x0D)
    assert int(enums.ResultReason.GENERAL_FAILURE) == 0x100
    assert algorithms.CryptographicUsageMask.ENCRYPT | 8 == 12
    assert [member.label for member in (Tag.IV_COUNTER_NONCE, Operation.RE_KEY)] == [
        "IVCounterNonce",
        "ReKey",
    ]
    assert algorithms.CryptographicAlgorithm.find_by_label("DES3") == 2
    assert algorithms.CryptographicAlgorithm.find_by_label("ROT13") is None
    assert spell_name("SHA_256") == "SHA_256"


@pytest.mark.parametrize("module", [enums, algorithms])
def test_no_enumeration_has_a_number_or_a_name_twice(module: Any) -> None:
    found: list[type[Code]] = [
        v for v in vars(module).values() if isinstance(v, type) and issubclass(v, Code)
    ]
    assert len(found) > 10
    every: list[type[Code]] = [*found, Tag]
    for cls in every:
        assert len(cls.__members__) == len({int(m) for m in cls}) == len({m.label for m in cls})


def test_people_can_read_what_is_compiled() -> None:
    text = source_of(Attribute)
    assert "attribute_index" in text
    compile(text, "Attribute", "exec")


def test_an_annotation_that_means_nothing_here_is_refused() -> None:
    class Strange(Fields, frozen=True, kw_only=True):
        batch_count: Annotated[float, "of nothing"]

    with pytest.raises(TypeError, match="no annotation"):
        fields_of(Strange)
    assert Chosen("a", {}, enums.ResultReason.GENERAL_FAILURE).by == "a"
