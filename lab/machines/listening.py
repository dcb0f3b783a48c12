"""The TLS proxy as a part of a lab: started, watched, ended; where it listens stays the same.

The certificate authority of a lab and the proxy's certificate are made once.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from lab.brokers.configuration import BrokerKind
from lab.schema.errors import KeysteadError
from protocol.crypto.certificates import (
    SEED_SIZE,
    SERIAL_SIZE,
    issue_certificate,
    new_key,
    public_key,
    self_signed,
)
from protocol.secret import KeyMaterial
from services.runtime.real.broker_tls import PROXY_NAME, LabTls
from services.runtime.real.files import replace_file

AUTHORITY: Final = "ca.pem"
_LIFE_S: Final = 20 * 366 * 86_400.0


def ensure_proxy_certificate(folder: Path, lab: str) -> tuple[Path, Path]:
    """The TLS proxy's certificate and its private key, PEM files in ``folder``, with ``ca.pem``
    beside them; made when they are not there. The authority's own key is not kept: there is one
    proxy."""
    certificate, key = folder / "proxy.pem", folder / "proxy.key"
    if not certificate.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = time.time()
        times = (now - 86_400.0, now + _LIFE_S)
        above = new_key(KeyMaterial(os.urandom(SEED_SIZE)))
        authority = self_signed(
            f"keystead lab {lab}", above, os.urandom(SERIAL_SIZE), *times, authority=True
        )
        own = new_key(KeyMaterial(os.urandom(SEED_SIZE)))
        proxy = issue_certificate(
            PROXY_NAME,
            public_key(own),
            os.urandom(SERIAL_SIZE),
            *times,
            issuer=authority,
            issuer_key=above,
            hosts=(PROXY_NAME,),
        )
        replace_file(key, _private_pem(own), mode=0o600, durable=False)
        replace_file(folder / AUTHORITY, _pem(authority), mode=0o644, durable=False)
        replace_file(certificate, _pem(proxy), mode=0o644, durable=False)  # last: all is there
    return certificate, key


def digest_of(authority: bytes) -> str:
    """A short name of a lab's authority (PEM)."""
    return hashlib.sha256(authority).hexdigest()[:12]


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)


def _private_pem(key: KeyMaterial) -> bytes:
    loaded = load_der_private_key(key.reveal(), None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


DEFAULT: Final = "127.0.0.1:0"
LISTENING: Final = "a lab listens that was started so: `keystead up FILE --listen HOST:PORT`"
ROOT: Final = Path(__file__).resolve().parents[2]
_LAUNCHER: Final = Path(__file__).parent.parent / "processes" / "die_with_parent.py"
_START_LIMIT_S: Final = 15.0
_LET_IN_LIMIT_S: Final = 3.0
_LONGEST_PORT: Final = 65_535


class Address(msgspec.Struct, frozen=True):
    """Where a TLS proxy listens; ``port`` 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def everywhere(self) -> bool:
        """Whether it names no address that one could go to."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - it is looked for, not bound


def address(option: str, text: str) -> Address:
    """``host:port`` or ``[::1]:port``; KS-USE-003 for what is none, which names ``option``."""
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    fits = bare and (bare != host or ":" not in host) and not set(bare) & set("[] /")
    if not fits or not port.isdecimal() or int(port[:6]) > _LONGEST_PORT:
        wrong = f"{option} {text!r}: an address and a port, as host:port or [::1]:port"
        raise KeysteadError("KS-USE-003", wrong)
    return Address(bare, int(port))


def reachable_address(listens: Address, at: str) -> Address:
    """Where others find a TLS proxy that listens at ``listens``: ``at``, whose port 0 is the TLS
    proxy's; empty: the same. KS-USE-003 for what is no address to go to."""
    if at:
        found = address("--address", at)
        return found if found.port else Address(found.host, listens.port)
    if listens.everywhere:
        text = f"the lab listens at {listens}, which is no address to go to"
        raise KeysteadError(
            "KS-USE-003", text, "say how the machine reaches it: `--address HOST:0`"
        )
    return listens


def find_address(folder: Path) -> Address | None:
    """Where the TLS proxy of the lab in ``folder`` listens or did last; None before its first
    start."""
    try:
        return msgspec.json.decode(
            (folder / "tls-proxy" / "address.json").read_bytes(), type=Address
        )
    except (OSError, msgspec.DecodeError):
        return None


def authority(folder: Path) -> Path:
    """The certificate authority of the lab in ``folder`` (PEM)."""
    return folder / "tls-proxy" / AUTHORITY


class TlsProxy:
    """The TLS proxy of one lab; ``wanted`` is where it shall listen, and at another port,
    ``gate_port``, the ``gate`` to nodes that stand here, where the lab has one."""

    def __init__(self, folder: Path, lab: str, wanted: Address, *, gate: bool = False) -> None:
        self._folder, self._lab, self._wanted = folder, lab, wanted
        self._gate, self.gate_port = gate, 0
        self._process: asyncio.subprocess.Process | None = None

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.returncode is None

    async def lets_in(self) -> bool:
        """Whether machines can join: it takes TLS, and the control broker behind it speaks."""
        at = find_address(self._folder)
        if at is None or not self.alive():
            return False
        host = "127.0.0.1" if at.everywhere else at.host
        try:
            options = LabTls(str(authority(self._folder)), BrokerKind.CONTROL.value).options
            context: ssl.SSLContext = options["tls"]
            async with asyncio.timeout(_LET_IN_LIMIT_S):
                reader, writer = await asyncio.open_connection(
                    host, at.port, ssl=context, server_hostname=PROXY_NAME
                )
                try:
                    return (await reader.readline()).startswith(b"INFO ")
                finally:
                    writer.transport.abort()
        except (OSError, TimeoutError):
            return False

    async def start(self, brokers: dict[str, str]) -> None:
        """Listen, and return when it does; ``brokers`` are URLs by name, several of one with
        commas. KS-AGENT-001 when it
        cannot. The calling thread must live as long as the TLS proxy: it ends with it."""
        if self.alive():
            return
        folder = self._folder / "tls-proxy"
        certificate, key = await asyncio.to_thread(ensure_proxy_certificate, folder, self._lab)
        before, wanted = find_address(self._folder), self._wanted
        if not wanted.port and before is not None and before.host == wanted.host:
            wanted = before
        ports = [
            f"{name}={','.join(url.rsplit(':', 1)[1] for url in urls.split(','))}"
            for name, urls in brokers.items()
        ]
        if self._gate:
            at = folder / "gate"
            ports.append(f"gate={at.read_text() if at.exists() else 0}:{self._folder}")
        program = [sys.executable, "-m", "lab.machines.tls_proxy", wanted.host, str(wanted.port)]
        launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid())]
        with (folder / "tls-proxy.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *launcher,
                *program,
                str(certificate),
                str(key),
                *ports,
                cwd=ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        line = b""
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_LIMIT_S):
                line = await self._out().readline()
        numbers = line.split()
        if not numbers or not all(number.isdigit() for number in numbers):
            await self.stop()
            said = (folder / "tls-proxy.log").read_text(errors="replace").strip().splitlines()
            why = said[-1] if said else "it did not say that it listens"
            raise KeysteadError("KS-AGENT-001", f"the lab cannot listen at {wanted}: {why}")
        found = msgspec.json.encode(Address(wanted.host, int(numbers[0])))
        replace_file(folder / "address.json", found, durable=False)
        if self._gate:
            self.gate_port = int(numbers[1])
            replace_file(folder / "gate", numbers[1], durable=False)

    def _out(self) -> asyncio.StreamReader:
        if self._process is None or self._process.stdout is None:
            raise TypeError("the TLS proxy was not started with a pipe")
        return self._process.stdout

    async def stop(self) -> None:
        """End it now; no change when it is down."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
