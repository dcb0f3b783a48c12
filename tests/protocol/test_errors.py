"""The registry of errors: they travel whole, and KMIP's carry KMIP's reasons."""

from __future__ import annotations

import pytest

from protocol.errors import REGISTRY, ErrorBody, Internal, ProductError, from_body
from protocol.terms import CryptoKeyId, KeyId, ProviderId, ResultReason

KEYS = (CryptoKeyId(KeyId("k"), ProviderId("p")),)


@pytest.mark.parametrize("name", REGISTRY)
def test_an_error_travels_whole(name: str) -> None:
    error = from_body(REGISTRY[name]("why", KEYS).body())
    assert type(error) is REGISTRY[name]
    assert (str(error), error.keys) == ("why", KEYS)


@pytest.mark.parametrize("name", REGISTRY)
def test_an_error_without_a_text_says_what_it_is(name: str) -> None:
    assert str(REGISTRY[name]()) == (REGISTRY[name].__doc__ or "").split("\n")[0] != ""


def test_an_unknown_error_is_an_unexpected_one() -> None:
    error = from_body(ErrorBody("Astonished", "why"))
    assert type(error) is Internal
    assert "Astonished" in str(error) and "why" in str(error)


@pytest.mark.parametrize("reason", ResultReason)
def test_each_result_reason_is_the_error_of_its_name(reason: ResultReason) -> None:
    assert REGISTRY[reason.value.replace(" ", "")].reason is reason


def test_an_error_that_kmip_has_no_reason_for_is_a_general_failure() -> None:
    others = {cls for cls in REGISTRY.values() if cls.reason is ResultReason.GENERAL_FAILURE}
    assert len(REGISTRY) - len(others) == len(ResultReason) - 1


def test_a_name_and_a_code_are_given_once() -> None:
    with pytest.raises(TypeError, match="registered already"):
        type("Busy", (ProductError,), {"code": 99})
    with pytest.raises(TypeError, match="registered already"):
        type("Astonished", (ProductError,), {"code": REGISTRY["Busy"].code})
    assert "Astonished" not in REGISTRY
