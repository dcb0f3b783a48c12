"""Whatever bytes come in: a command, or an error for people. Never anything else."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.schema.wire import commands_by_name, decode_command, encode_command

SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


def decoded(data: bytes) -> c.Command[Any] | None:
    try:
        return decode_command(data)
    except KeysteadError as error:
        assert error.id in ("KS-USE-001", "KS-USE-003") and str(error).isprintable()
        assert len(str(error)) < 1000
        return None


@st.composite
def almost_commands(draw: st.DrawFn) -> bytes:
    """A map with the fields of a command, one byte of it perhaps another, the end perhaps cut."""
    name, kind = draw(st.sampled_from(sorted(commands_by_name().items())))
    fields = draw(st.lists(st.sampled_from(kind.__struct_fields__ or ("other",)), unique=True))
    whole = {"command": draw(st.just(name) | VALUES)} | {f: draw(VALUES) for f in fields}
    data = bytearray(msgpack.packb(whole))
    if draw(st.booleans()):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([len(data), len(data) // 2, len(data) - 1]))])


@settings(deadline=None)
@given(almost_commands())
def test_what_is_almost_a_command_is_one_or_is_refused(data: bytes) -> None:
    command = decoded(data)
    if command is not None:
        assert bytes(encode_command(decode_command(encode_command(command)))) == bytes(
            encode_command(command)
        )


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"\x81\xa7command\x90")  # a name that is a list
@example(b"\x81\xa7command\xa1\xff")  # no UTF-8
@example(b"\x91" * 100_000 + b"\xc0")  # deeper than a stack
@example(msgpack.packb({"command": "x" * 100_000}))
@example(msgpack.packb({"command": "get\x1b[31m\n.hosts"}))
def test_any_bytes_are_a_command_or_are_refused(data: bytes) -> None:
    decoded(data)


@pytest.mark.parametrize("levels", [40, 500, 5_000])
def test_values_that_go_deep_are_refused(levels: int) -> None:
    """With 5,000 a decoder runs out of its stack in one Python, and not in another."""
    head = msgpack.packb({"command": "fault.inject", "kind": "link.cut", "values": 0})[:-1]
    assert decoded(head + b"\x81\xa1a" + b"\x91" * levels + b"\xc0") is None


def test_values_of_a_few_levels_are_taken() -> None:
    values = {"between": ["vcenter", {"site": "edge"}]}
    made = msgpack.packb({"command": "fault.inject", "kind": "link.cut", "values": values})
    assert decode_command(made) == c.FaultInject(kind="link.cut", values=values)


def test_a_name_that_is_none_is_told_from_values_that_do_not_fit() -> None:
    for whole, expected in (
        ({"command": "get.nothing"}, "KS-USE-001"),
        ({"host": "esxi-001"}, "KS-USE-001"),
        ({"command": "get.host-view"}, "KS-USE-003"),
        ({"command": "get.hosts", "other": 1}, "KS-USE-003"),
    ):
        with pytest.raises(KeysteadError) as caught:
            decode_command(msgpack.packb(whole))
        assert caught.value.id == expected
    assert decode_command(msgpack.packb({"command": "get.hosts"})) == c.GetHosts()


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize("number", [NAN, INFINITE, -INFINITE, -1.0])
def test_a_number_of_a_fault_is_a_number(number: float) -> None:
    """One that JSON has no word for would reach the list of faults."""
    for make in (
        lambda: c.LinkCut("a", "b", lease_s=number),
        lambda: c.LinkDelay("a", "b", number),
        lambda: c.LinkDelay("a", "b", 1.0, jitter_s=number),
        lambda: c.LinkLoss("a", "b", number),
        lambda: c.LinkDup("a", "b", number),
        lambda: c.FaultInject("link.cut", lease_s=number),
    ):
        with pytest.raises(KeysteadError) as caught:
            make()
        assert caught.value.id == "KS-USE-003"
