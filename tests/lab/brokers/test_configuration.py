"""The text of the configuration: a real server reads it, for every kind and any number."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nkeys
import pytest

from lab.brokers.configuration import (
    BrokerKind,
    BrokerPlace,
    BrokerUser,
    control_user,
    may_ask,
    node_user,
    render,
    tap_user,
)
from lab.brokers.program import find_server
from protocol.subjects import may_publish, may_subscribe
from protocol.terms import NodeName


def _nkey(number: int) -> str:
    seed = nkeys.encode_seed(number.to_bytes(32, "big"), nkeys.PREFIX_BYTE_USER)
    public: bytes = nkeys.from_seed(seed).public_key
    return public.decode()


NODES = tuple(node_user(NodeName(f"esxi-{n:03}"), _nkey(n)) for n in range(300))
CONTROL = tuple(
    control_user(name, _nkey(n)) for n, name in enumerate(("supervisor", "cli", "agent-1"))
)


@pytest.mark.lab
@pytest.mark.parametrize(
    ("kind", "users"),
    [
        (BrokerKind.DATA, ()),
        (BrokerKind.DATA, (tap_user(_nkey(999)), *NODES)),
        (BrokerKind.CONTROL, CONTROL),
    ],
)
def test_a_server_accepts_it(
    tmp_path: Path, kind: BrokerKind, users: tuple[BrokerUser, ...]
) -> None:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    place = BrokerPlace(folder, "keystead-test", 4222)
    place.config.write_text(render(kind, place, users))
    ran = subprocess.run(
        [find_server().path, "-t", "-c", place.config], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_broker_grants_a_node_what_the_protocol_says_and_no_more() -> None:
    """One list of rights, said twice: to the broker here, to the simulation in ``subjects``."""
    user = node_user(NodeName("a"), _nkey(1))
    assert user.publish == ("l.a.>", "e.a.>")
    assert user.subscribe == ("l.*.a.>",)
    for subject in user.publish:
        assert may_publish("a", subject)
    for subject in user.subscribe:
        assert may_subscribe("a", subject)


def test_nothing_to_say_is_a_denial_and_not_an_empty_list_that_allows_all() -> None:
    text = render(BrokerKind.DATA, BrokerPlace(Path("/x"), "s"), (tap_user(_nkey(1)),))
    assert 'publish: { deny: [ ">" ] }' in text
    assert "[  ]" not in text


def test_the_tap_has_no_place_on_the_control_broker() -> None:
    with pytest.raises(ValueError, match="data broker"):
        control_user("tap", _nkey(1))


@pytest.mark.parametrize("sender", ["cli", "supervisor", "tap", "agent-1", "agent-2"])
def test_the_cli_asks_the_supervisor_and_the_supervisor_the_agents_and_nobody_else_anybody(
    sender: str,
) -> None:
    """Said twice: to the broker, and to the end that serves."""
    asked = {to for to in ("cli", "supervisor", "tap", "agent-1", "agent-2") if may_ask(sender, to)}
    expected = {"cli": {"supervisor"}, "supervisor": {"supervisor", "agent-1", "agent-2"}}
    assert asked == expected.get(sender, set())
    if sender not in ("tap", "supervisor"):
        publish = control_user(sender, _nkey(1)).publish
        assert [s for s in publish if s.startswith(("ctl.supervisor.", "ctl.agent."))] == [
            f"ctl.{to}.{sender}.>" for to in sorted(asked)
        ]
