"""The door of ``kmip serve``: where it is, who is known when it opens, how many it takes."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

from lab.cli import kmip
from lab.cli.main import run
from lab.cli.options import DEFAULTS
from lab.kmip import credentials, server
from lab.kmip.server import _room
from lab.schema.answers.kmip import KmipClient, KmipServer
from protocol.kmip.enums import ResultStatus
from services.kms.endpoints.kmip_clients import IdentityAdmission
from services.kms.service import KmsService
from services.runtime.streams import CONNECTIONS
from tests.lab.kmip.test_serve import client, connections
from tests.lab.kmip.test_serve import serving as started
from tests.lab.kmip.tls import ask
from tests.services.kms.kmip_rig import message, new_key


def test_an_address_of_ipv6_is_told_in_brackets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 here")
    with taken:
        where = f"[::1]:{taken.getsockname()[1]}"
        assert run(["kmip", "serve", "--listen", where, "--folder", str(tmp_path)]) == 1
    assert f"KS-KMIP-002: {where}: Address already in use" in capsys.readouterr().err


def test_who_is_asked_for_is_in_the_table_before_the_door_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = credentials.ensure_certificates(tmp_path / "tls")
    found: list[tuple[str, bool]] = []

    async def closed(
        self: KmsService, admission: IdentityAdmission, *_: Any, **__: Any
    ) -> NoReturn:
        found.extend((one.name, one.revoked) for one in admission.all())
        raise OSError("no door in this test")

    monkeypatch.setattr(KmsService, "open_kmip", closed)
    words = ["kmip", "serve", "--folder", str(tmp_path), "--trust", str(made.client)]
    assert run([*words, "--revoke", str(made.client)]) == 1
    assert found == [("client", True)]


@pytest.mark.slow
async def test_the_first_client_owns_its_keys_whatever_others_may_do(tmp_path: Path) -> None:
    """``--role`` and ``--scope`` are about the clients of ``--trust``."""
    folder, app = tmp_path / "keys", credentials.ensure_certificates(tmp_path / "other").client
    words = ("--trust", str(app), "--role", "vsan", "--scope", "apps")
    with started(folder, *words) as (_, told):
        clients = sorted((one["role"], one["scope"]) for one in told["clients"])
        stream = await connections(folder).connect(told["address"], client(folder), within_s=20)
        [item] = (await ask(stream, message(new_key()))).batch_item
    assert clients == [("owner", "default"), ("vsan", "apps")]
    assert item.result_status is ResultStatus.SUCCESS
    again = ("--trust", str(folder / "tls" / "client.pem"), "--role", "client")
    with started(folder, *again) as (_, told):
        assert sorted(one["role"] for one in told["clients"]) == ["client", "vsan"]


def test_a_name_with_a_new_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A common name is chosen by whoever asks for a certificate."""
    one = KmipClient(name="a\nroot", role="client", scope="s\tt", revoked=False, digest="00")
    told = KmipServer(
        address="127.0.0.1:1",
        folder="f",
        certificate="c",
        authority="a",
        client_certificate="",
        client_key="",
        clients=(one,),
        pid=1,
    )
    kmip._serves(told, DEFAULTS)
    assert "  a\\nroot: client in scope s\\tt\n" in capsys.readouterr().out


def test_no_more_connections_than_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is raised as far as it goes; what is left is for the store and newcomers."""
    limits = {"now": (1024, 4096)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.update(now=pair))
    assert _room() == 4096 - server.SPARE_FILES
    assert limits["now"] == (4096, 4096)
    limits["now"] = (200, 200)
    assert _room() == 100
    limits["now"] = (1024, resource.RLIM_INFINITY)
    assert _room() == CONNECTIONS


@pytest.mark.slow
async def test_silent_connections_give_way_when_files_run_out(tmp_path: Path) -> None:
    """At once, and a known client goes on; a process of 200 files has 100 connections."""
    folder = tmp_path / "kmip"
    with started(folder, files=200) as (_, told):
        stream = await connections(folder).connect(told["address"], client(folder), within_s=20)
        host, _, port = told["address"].rpartition(":")
        idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(150)]
        begun = time.monotonic()
        for one in idle[:40]:
            with suppress(ConnectionError):
                assert one.recv(1) == b""
        assert time.monotonic() - begun < 4
        [item] = (await ask(stream, message(new_key()))).batch_item
        assert item.result_status is ResultStatus.SUCCESS
        for one in idle:
            one.close()
