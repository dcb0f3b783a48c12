"""PyKMIP, which knows nothing of our code, reads what we write and writes what we read.

It is no part of the environment: without it this module is one skip. Known of its 0.11.0: texts
whose length is a multiple of 8 get eight bytes too many (Create), and it has no Add Attribute.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from protocol.kmip.message import (
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from tests.protocol.kmip.vcenter import REQUESTS, RESPONSES

pytestmark = pytest.mark.filterwarnings("ignore")
NOT_READ = {"AddAttribute"}
NOT_THE_SAME = {"Create"}


@pytest.fixture(scope="module")
def peer() -> Any:
    """Its module of messages; warnings of its own imports are no errors of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        messages = pytest.importorskip("kmip.core.messages.messages", reason="PyKMIP is not here")
    return messages


def written(peer: Any, message: Any, data: bytes) -> bytes:
    """``data`` read into ``message`` of the peer, and written by it."""
    stream = peer.BytearrayStream
    message.read(stream(data))
    out = stream()
    message.write(out)
    return bytes(out.buffer)


@pytest.mark.parametrize("name", [name for name in REQUESTS if name not in NOT_READ])
def test_a_request_is_the_same_to_a_peer(peer: Any, name: str) -> None:
    message, size = REQUESTS[name]
    data = encode_request(message)
    theirs = written(peer, peer.RequestMessage(), data)
    if name in NOT_THE_SAME:
        assert len(theirs) == size + 8
    else:
        assert theirs == data
        assert decode_request(theirs) == message


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_the_same_to_a_peer(peer: Any, name: str) -> None:
    message, _ = RESPONSES[name]
    data = encode_response(message)
    theirs = written(peer, peer.ResponseMessage(), data)
    assert theirs == data
    assert decode_response(theirs) == message
