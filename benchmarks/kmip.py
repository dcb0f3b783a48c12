"""The codec of KMIP: what a message costs, and whether any bytes get more out of it than an error.

``disturbed`` and ``understood`` are what the tests ask ten thousand times, and ``kmip-fuzz`` a
million times.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from protocol.kmip import dialect
from protocol.kmip.algorithms import CryptographicAlgorithm, KeyFormatType
from protocol.kmip.enums import KmipError, ObjectType, Operation, ResultStatus
from protocol.kmip.message import (
    RequestMessage,
    ResponseHeader,
    ResponseItem,
    ResponseMessage,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from protocol.kmip.objects import KeyBlock, KeyValue, SymmetricKey
from protocol.kmip.payloads import GetResponse
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import parse
from protocol.secret import KeyMaterial

TAGS = tuple(
    zip(dialect.PRODUCT, ("7.0.3 build-19480866", "VMware, Inc.", "VMware vSphere"), strict=True)
)
BATCH_SIZE = 440
SEED = 1
UNDERSTOOD, REFUSED = "understood", "refused"


def tag_batch() -> RequestMessage:
    """vCenter's batch of three attributes, for an object with a short id: 440 bytes."""
    return dialect.add_tags("7", TAGS)


def key_reply() -> ResponseMessage:
    """The reply to vCenter's Get: 296 bytes."""
    key = KeyBlock(
        key_format_type=KeyFormatType.RAW,
        key_value=KeyValue(key_material=KeyMaterial(bytes(32))),
        cryptographic_algorithm=CryptographicAlgorithm.AES,
        cryptographic_length=256,
    )
    item = ResponseItem(
        operation=Operation.GET,
        unique_batch_item_id=b"QLKC\1\0\0\0",
        result_status=ResultStatus.SUCCESS,
        response_payload=GetResponse(
            object_type=ObjectType.SYMMETRIC_KEY,
            unique_identifier="7",
            object=SymmetricKey(key_block=key),
        ),
    )
    header = ResponseHeader(protocol_version=dialect.VERSION, time_stamp=0, batch_count=1)
    return ResponseMessage(response_header=header, batch_item=(item,))


class KmipCodec(Benchmark):
    """CPU time of one message, the least of many rounds: what else runs here only makes it worse.

    The figure is decoding the batch to typed structs; the reply to a Get is beside it.
    """

    name: ClassVar[str] = "kmip-codec"
    measures: ClassVar[str] = "CPU to decode vCenter's batch of 440 bytes to typed structs"
    unit: ClassVar[str] = "us"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 12.0)
    also: ClassVar[dict[str, Bar]] = {"encode_us": Bar(Sense.AT_MOST, 8.0)}

    async def run(self, report: Report) -> Figures:
        rounds = 5 if self.quick else 300
        batch, reply = tag_batch(), key_reply()
        data, answer = encode_request(batch), encode_response(reply)
        if len(data) != BATCH_SIZE or decode_request(data) != batch:
            raise CannotRun("the batch is not the one that vCenter sends")
        return Figures(
            _least(decode_request, data, rounds),
            {
                "encode_us": _least(encode_request, batch, rounds),
                "key_decode_us": _least(decode_response, answer, rounds),
                "key_encode_us": _least(encode_response, reply, rounds),
            },
        )


def _least(work: Callable[[Any], object], given: object, rounds: int) -> float:
    """Microseconds of CPU that one call takes in the quickest round of a hundred."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.thread_time_ns()
        for _ in range(100):
            work(given)
        best = min(best, (time.thread_time_ns() - begun) / 100_000)
    return best


class KmipFuzz(Benchmark):
    """Messages with something wrong in them: each is understood to the byte, or one error.

    Anything else ends the benchmark without a figure.
    """

    name: ClassVar[str] = "kmip-fuzz"
    measures: ClassVar[str] = "a million disturbed messages decoded twice, as tree and as structs"
    unit: ClassVar[str] = "1/s"
    bar: ClassVar[Bar] = Bar(Sense.AT_LEAST, 5000.0)
    repeats: ClassVar[int] = 1

    async def run(self, report: Report) -> Figures:
        count = 2000 if self.quick else 1_000_000
        samples = (encode_request(tag_batch()), encode_response(key_reply()))
        rng, seen = random.Random(SEED), {UNDERSTOOD: 0, REFUSED: 0}
        begun = time.perf_counter()
        for number in range(count):
            data = disturb(samples[number % 2], rng)
            try:
                seen[classify(data)] += 1
            except Exception as error:
                raise CannotRun(f"input {number} of seed {SEED}: {type(error).__name__}") from error
        taken = time.perf_counter() - begun
        return Figures(count / taken, {name: float(times) for name, times in seen.items()})


def classify(
    data: bytes,
    decode: Callable[[bytes], Any] | None = None,
    encode: Callable[[Any], bytes] | None = None,
) -> str:
    """``UNDERSTOOD`` or ``REFUSED``; ``AssertionError`` when it is neither.

    Understood: the structs have the same bytes again, and the tree parses too. The functions are
    those of the message's kind unless they are given.
    """
    response = data[:3] == Tag.RESPONSE_MESSAGE.to_bytes(3)
    decode = decode or (decode_response if response else decode_request)
    encode = encode or (encode_response if response else encode_request)
    message: Any
    try:
        message = decode(data)
    except KmipError:
        return REFUSED
    try:
        parse(data)
    except KmipError as error:
        raise AssertionError(f"it is no TTLV, and was taken: {error}") from None
    if encode(message) != data:
        raise AssertionError("it has other bytes when it is encoded again")
    return UNDERSTOOD


def disturb(data: bytes, rng: random.Random) -> bytes:
    """``data`` with one or a few things wrong, noise of its size, or in a few cases as it is."""
    raw = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        rng.choice(_DISTURBANCES)(raw, rng)
    return bytes(raw)


def _at(raw: bytearray, rng: random.Random, step: int = 1) -> int:
    return rng.randrange(0, max(1, len(raw) - step), step)


def _flip(raw: bytearray, rng: random.Random) -> None:
    if raw:
        raw[_at(raw, rng)] ^= 1 << rng.randrange(8)


def _set(raw: bytearray, rng: random.Random) -> None:
    if raw:
        raw[_at(raw, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(raw: bytearray, rng: random.Random) -> None:
    at = _at(raw, rng)
    del raw[at : at + rng.choice((1, 4, 8, 16, len(raw)))]


def _insert(raw: bytearray, rng: random.Random) -> None:
    at = _at(raw, rng, 8)
    raw[at:at] = rng.randbytes(rng.choice((1, 4, 8, 16)))


def _repeat(raw: bytearray, rng: random.Random) -> None:
    """A piece again, as a field that is there twice; its message is longer by that much."""
    at, size = _at(raw, rng, 8), rng.choice((8, 16, 24))
    raw[at:at] = raw[at : at + size]


def _length(raw: bytearray, rng: random.Random) -> None:
    """A length where one may be."""
    at = _at(raw, rng, 8) + 4
    raw[at : at + 4] = rng.choice((0, 1, 4, 7, 8, 2**31, 2**32 - 1, len(raw))).to_bytes(4)


def _kind(raw: bytearray, rng: random.Random) -> None:
    """A type where one may be."""
    at = _at(raw, rng, 8) + 3
    raw[at : at + 1] = bytes([rng.randrange(12)])


def _noise(raw: bytearray, rng: random.Random) -> None:
    raw[:] = rng.randbytes(len(raw))


_DISTURBANCES = (_flip, _flip, _set, _set, _cut, _insert, _repeat, _length, _kind, _noise)
