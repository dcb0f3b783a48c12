"""Who may ask the page's server, and who is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.cli.web.asking import HOST, PORT, TOKEN, Server, server_for


@pytest.fixture
def server() -> Server:
    return server_for(None)  # no lab is asked


async def test_what_is_not_the_servers_own_address_is_refused(server: Server) -> None:
    assert (await server.ask("/live.css")).status == 200
    assert (await server.ask("/live.css", host=f"localhost:{PORT}")).status == 200
    for host in ("evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}", ""):
        assert (await server.ask("/live.css", host=host)).status == 403, host


async def test_requests_of_other_pages_are_refused_even_with_the_token(server: Server) -> None:
    for origin in ("http://evil.example", f"https://{HOST}", "null", f"http://{HOST}.evil.example"):
        assert (await server.ask("/live.css", origin=origin)).status == 403, origin
        assert (await server.do("heal --all", origin=origin)).status == 403, origin
    assert (await server.ask("/live.css", origin=f"http://{HOST}")).status == 200


async def test_without_the_token_nothing_is_changed(server: Server) -> None:
    for token in ("", "another", TOKEN[:-1], TOKEN + "x"):
        answer = await server.do("heal --all", x_keystead_token=token)
        assert answer.status == 403 and "token" in answer.text
    assert not server.looker.done


async def test_every_answer_forbids_what_is_not_the_pages_own(server: Server) -> None:
    for path in ("/live.css", "/live.js", "/nothing"):
        headers = (await server.ask(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
    refused = await server.ask("/live.css", host="evil.example")
    assert "default-src 'none'" in refused.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "KS-USE-003"),
        (b'{"line": 7}', "KS-USE-003"),
        (b'{"line": "x", "more": 1}', "KS-USE-003"),
        (b'{"line": "' + b"x" * 5000 + b'"}', "at most 4096 bytes"),
        (b'{"line": "esx esxi-001 system reboot"}', "does not give this command"),
        (b'{"line": "kms key destroy kms some-key"}', "KS-USE"),
        (b'{"line": "host power-on esxi-001 --boot-option a=b"}', "does not give this command"),
        (b'{"line": "heal --all --name other"}', "leave out --name"),
        (b'{"line": "down --purge"}', "does not give this command"),
        (b'{"line": "heal \'"}', "KS-USE-001"),
    ],
)
async def test_what_the_page_does_not_do_never_reaches_the_lab(
    server: Server, body: bytes, said: str
) -> None:
    server.looker.seen = None

    async def look() -> None:
        """The lab is looked at after each refusal; there is none here."""

    server.looker.look = look  # type: ignore[method-assign]
    answer = await server.ask("/do", body, x_keystead_token=TOKEN)
    assert answer.status in (400, 409) and said in answer.json["text"]


async def test_what_another_page_embeds_is_refused(server: Server) -> None:
    """A picture or a frame sends no Origin; on /live it would let the time of a lab pass."""
    for site in ("cross-site", "same-site"):
        for dest in ("image", "iframe", "script", "empty"):
            asked = {"sec_fetch_site": site, "sec_fetch_dest": dest}
            assert (await server.ask("/live.css", **asked)).status == 403, asked
    own = {"sec_fetch_site": "same-origin", "sec_fetch_dest": "empty"}
    followed = {"sec_fetch_site": "cross-site", "sec_fetch_dest": "document"}
    for asked in (own, followed, {"sec_fetch_site": "none", "sec_fetch_dest": "document"}):
        assert (await server.ask("/live.css", **asked)).status == 200, asked


async def test_a_body_without_end_is_refused_before_it_is_kept(server: Server) -> None:
    class Endless:
        """A body of parts without an end."""

        parts = 0

        async def receive(self) -> Any:
            """The next part."""
            self.parts += 1
            assert self.parts < 10, "the whole body is read"
            return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    async def look() -> None:
        """There is no lab."""

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    server.looker.look = look  # type: ignore[method-assign]
    headers = [(b"host", HOST.encode()), (b"x-keystead-token", TOKEN.encode())]
    scope = {
        "type": "http", "method": "POST", "path": "/do", "query_string": b"", "headers": headers,
    }  # fmt: skip
    await server.app(scope, Endless().receive, send)
    assert sent[0]["status"] == 409 and b"at most 4096 bytes" in sent[1]["body"]
