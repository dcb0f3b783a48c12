"""Servers that somebody else runs, for tests: real ones on loopback, and one that only greets."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import signal
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.brokers.monitoring import server_name
from lab.brokers.program import find_server


class Theirs:
    """One nats-server with a configuration of its administrator's; ``accounts`` is what is within
    that section, ``more`` stands beside it."""

    def __init__(self, folder: Path, accounts: str, more: str = "") -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.config, self.more = folder, folder / "their.conf", more
        self.write(accounts)
        self.port = self.monitoring = 0
        self._process: asyncio.subprocess.Process | None = None

    def write(self, accounts: str) -> None:
        """What they have loaded, from the next start or reload on."""
        (self.folder / "lab.conf").write_text(accounts)
        self.config.write_text(
            f'host: "127.0.0.1"\nport: -1\nhttp: "127.0.0.1:-1"\nports_file_dir: "{self.folder}"\n'
            f'{self.more}\naccounts {{\n  include "lab.conf"\n  SYS: {{ }}\n}}\n'
            "system_account: SYS\n"
        )

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> Theirs:
        self._process = await asyncio.create_subprocess_exec(
            find_server().path, "-c", self.config, stderr=asyncio.subprocess.DEVNULL
        )
        ports = self.folder / f"nats-server_{self._process.pid}.ports"
        async with asyncio.timeout(20):
            while not ports.exists() or not ports.read_text().rstrip().endswith("}"):
                await asyncio.sleep(0.005)
            told = json.loads(ports.read_text())
            self.port, self.monitoring = (
                int(told[what][0].rsplit(":", 1)[1]) for what in ("nats", "monitoring")
            )
            while not await server_name(self.port):
                await asyncio.sleep(0.005)
        return self

    def kill(self) -> None:
        """SIGKILL, without waiting."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def stop(self) -> None:
        self.kill()
        if self._process is not None:
            await self._process.wait()

    def reload(self) -> None:
        """What was written last is in force soon."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def connections(self) -> int:
        """Clients that are there, by its own word."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.monitoring)
        writer.write(b"GET /varz HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return int(json.loads(answer.partition(b"\r\n\r\n")[2])["connections"])


async def greeter(line: bytes) -> asyncio.Server:
    """What says one line to whoever comes."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(line)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(greet, "127.0.0.1", 0)


def certificate(folder: Path, name: str, until: int = 2) -> Path:
    """``name``.pem and ``name``.key for 127.0.0.1, its own authority, valid for the three days that
    end ``until`` days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=until - 3))
        .not_valid_after(now + datetime.timedelta(days=until))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / f"{name}.key").write_bytes(private)
    return path
