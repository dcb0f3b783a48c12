"""The names of nats-py that ``nats_client`` stands on, though the package does not promise them.

When one of these fails after an update, read ``nats_client`` and the failure tests beside this
file, and only then change the pin.
"""

from __future__ import annotations

import inspect

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol import parser

from services.runtime.real.nats_client import BrokerClient


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_process_msg", ["self", "sid", "subject", "reply", "data", "headers"]),
        ("_process_err", ["self", "err_msg"]),
        ("_process_op_err", ["self", "e"]),
        ("_process_pong", ["self"]),
        ("_process_connect_init", ["self"]),
        ("_process_info", ["self", "info", "initial_connection"]),
    ],
)
def test_what_is_overridden_is_still_there_and_still_called(
    name: str, parameters: list[str]
) -> None:
    method = getattr(Client, name)
    assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(method).parameters) == parameters
    assert name in BrokerClient.__dict__
    callers = inspect.getsource(Client) + inspect.getsource(parser)
    assert f"await self.{name}(" in callers or f"await self.nc.{name}(" in callers


def test_the_attributes_are_still_there() -> None:
    client = Client()
    for name in (
        "_status",
        "_reading_task",
        "_ping_interval_task",
        "_pings_outstanding",
        "_pongs",
        "_flusher_task",
        "_reconnection_task",
        "_transport",
        "_error_cb",
        "_ps",
    ):
        assert name in vars(client), name
    assert Client.CLOSED == 2
    assert {"buf", "state"} <= set(vars(parser.Parser(client)))
    assert "await self._ps.parse(" in inspect.getsource(Client._read_loop)
    assert "_io_writer" in inspect.getsource(TcpTransport.__init__)


def test_stale_pings_and_a_lost_socket_go_through_the_one_place() -> None:
    """Both ways in which a dead link is noticed end where the transport is aborted."""
    for noticer in (Client._ping_interval, Client._read_loop):
        assert "_process_op_err(" in inspect.getsource(noticer)
