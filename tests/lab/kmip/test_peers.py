"""Clients that know nothing of our code, against ``kmip serve``: cyphera-kmip, of which five
operations are sound, and OpenBao, which seals itself with a key that stays in the server.

Each is skipped, and says so, where it is not there: OpenBao is the program that KEYSTEAD_BAO names,
or ``bao`` of the search path.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from protocol.kmip import payloads as p
from protocol.kmip.enums import NameType, ResultStatus, RevocationReasonCode
from protocol.kmip.fields import Fields
from protocol.kmip.message import ResponseItem
from protocol.kmip.objects import Attribute, Name, RevocationReason
from tests.lab.kmip.test_serve import client, connections, serving
from tests.lab.kmip.tls import ask
from tests.services.kms.kmip_rig import message, new_key

BAO = os.environ.get("KEYSTEAD_BAO") or shutil.which("bao")
SEAL = """
disable_mlock = true
api_addr = "http://{listen}"
cluster_addr = "http://{cluster}"
storage "raft" {{
  path = "{folder}"
  node_id = "one"
}}
listener "tcp" {{
  address = "{listen}"
  cluster_address = "{cluster}"
  tls_disable = true
}}
seal "kmip" {{
  endpoint = "{endpoint}"
  kms_key_id = "{key}"
  client_cert = "{told[client_certificate]}"
  client_key = "{told[client_key]}"
  ca_cert = "{told[authority]}"
}}
"""


async def asked(folder: Path, told: dict[str, Any], *payloads: Fields) -> list[ResponseItem]:
    """Answers to our own client, over TLS."""
    port = connections(folder)
    stream = await port.connect(told["address"], client(folder), within_s=20)
    answers = [(await ask(stream, message(one))).batch_item[0] for one in payloads]
    port.abort()
    return answers


def named(value: str) -> Attribute:
    name = Name(name_value=value, name_type=NameType.UNINTERPRETED_TEXT_STRING)
    return Attribute(attribute_name="Name", attribute_value=name)


# ---- cyphera-kmip ---------------------------------------------------------------------------


@pytest.mark.slow
async def test_cyphera_kmip_makes_and_gets_a_key(tmp_path: Path) -> None:
    """It looks at the server's name in its certificate. Its Revoke has no Revocation Reason, which
    is refused; our own client ends the key's life."""
    peer = pytest.importorskip("cyphera_kmip", reason="cyphera-kmip is not here")
    folder = tmp_path / "kmip"
    with serving(folder) as (_, told):
        host, _, port = told["address"].rpartition(":")
        theirs = peer.KmipClient(
            host=host,
            port=int(port),
            client_cert=told["client_certificate"],
            client_key=told["client_key"],
            ca_cert=told["authority"],
        )
        key = theirs.create("a key", "AES", 256)["unique_identifier"]
        assert theirs.locate("a key") == [key]
        assert theirs.locate("none") == []
        theirs.activate(key)
        material = theirs.get(key)["key_material"]
        assert theirs.fetch_key("a key") == material
        assert len(material) == 32
        assert theirs.obtain_lease(key) == 3600
        assert theirs.check(key)["unique_identifier"] == key
        following = theirs.re_key(key)["unique_identifier"]
        assert theirs.locate("a key") == [following]
        with pytest.raises(peer.KmipError):
            theirs.destroy(key)  # it is active
        revoke = p.RevokeRequest(
            unique_identifier=key,
            revocation_reason=RevocationReason(
                revocation_reason_code=RevocationReasonCode.CESSATION_OF_OPERATION
            ),
        )
        ours = await asked(folder, told, p.GetRequest(unique_identifier=key), revoke)
        assert [one.result_status for one in ours] == [ResultStatus.SUCCESS] * 2
        theirs.destroy(key)
        with pytest.raises(peer.KmipError):
            theirs.get(key)
        theirs.close()


@pytest.mark.slow
@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0"])
def test_a_client_that_looks_at_names_finds_the_one_it_asks(tmp_path: Path, listen: str) -> None:
    """Also one as strict as Python's own is from 3.13 on."""
    folder = tmp_path / "kmip"
    with serving(folder, listen=listen) as (_, told):
        number = int(told["address"].rpartition(":")[2])
        context = ssl.create_default_context(cafile=told["authority"])
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_cert_chain(told["client_certificate"], told["client_key"])
        for name in ("127.0.0.1", "localhost"):
            with (
                socket.create_connection(("127.0.0.1", number)) as raw,
                context.wrap_socket(raw, server_hostname=name) as stream,
            ):
                assert stream.version() == "TLSv1.3"
        with (
            socket.create_connection(("127.0.0.1", number)) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            context.wrap_socket(raw, server_hostname="another.example")


# ---- OpenBao --------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


class Bao:
    """OpenBao in ``folder``, sealed by the key server that ``told`` of itself."""

    def __init__(self, folder: Path, told: dict[str, Any], key: str) -> None:
        assert BAO is not None
        self._program, self._folder = BAO, folder
        self.address = f"127.0.0.1:{free_port()}"
        (folder / "raft").mkdir(parents=True)
        text = SEAL.format(
            listen=self.address,
            cluster=f"127.0.0.1:{free_port()}",
            folder=folder / "raft",
            endpoint=told["address"],
            key=key,
            told=told,
        )
        (folder / "bao.hcl").write_text(text)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The server, until the end of the block."""
        words = [self._program, "server", f"-config={self._folder / 'bao.hcl'}"]
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def say(self, *words: str, token: str = "") -> dict[str, Any]:
        """What a command of its client answers; what it has ``said`` when that is no document."""
        environment = {**os.environ, "BAO_ADDR": f"http://{self.address}", "BAO_TOKEN": token}
        done = subprocess.run(
            [self._program, *words], capture_output=True, text=True, env=environment, check=False
        )
        if not done.stdout.startswith("{"):
            return {"said": done.stdout + done.stderr}
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def is_sealed_in(self, seconds: float, **wanted: Any) -> bool:
        """Whether its status comes to be as wanted within that time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = self.say("status", "-format=json")
            if all(status.get(name) == value for name, value in wanted.items()):
                return True
            time.sleep(0.3)
        return False


@pytest.mark.skipif(BAO is None, reason="OpenBao is not here: KEYSTEAD_BAO names no program")
async def test_openbao_unseals_by_it(tmp_path: Path) -> None:
    """It begins, is killed, and unseals itself, as long as the key is there and encrypts."""
    folder = tmp_path / "kmip"
    listen = f"127.0.0.1:{free_port()}"
    with serving(folder, listen=listen) as (process, told):
        [made] = await asked(folder, told, new_key(named("openbao")))
        assert isinstance(made.response_payload, p.CreateResponse)
        key = made.response_payload.unique_identifier
        [active] = await asked(folder, told, p.ActivateRequest(unique_identifier=key))
        assert active.result_status is ResultStatus.SUCCESS
        bao = Bao(tmp_path / "bao", told, key)
        with bao.running():
            assert bao.is_sealed_in(60, initialized=False)
            begun = bao.say(
                *("operator", "init", "-recovery-shares=1", "-recovery-threshold=1"),
                "-format=json",
            )
            assert "root_token" in begun, begun
            token = begun["root_token"]
            assert bao.is_sealed_in(60, sealed=False, type="kmip")
            bao.say("secrets", "enable", "-path=kv", "-version=1", "kv", token=token)
            bao.say("kv", "put", "-mount=kv", "one", "word=kept", token=token)
        with bao.running():
            assert bao.is_sealed_in(60, initialized=True, sealed=False)
            found = bao.say("kv", "get", "-mount=kv", "-format=json", "one", token=token)
            assert found["data"] == {"word": "kept"}
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    with bao.running():
        assert not bao.is_sealed_in(8, sealed=False), "nobody is there who could decrypt"
    with serving(folder, listen=listen), bao.running():
        assert bao.is_sealed_in(60, initialized=True, sealed=False)
