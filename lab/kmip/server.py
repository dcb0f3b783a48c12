"""A key server without a lab that speaks KMIP: served in the foreground until it is ended, and,
while it does not run, opened for a change such as another root for its keys.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.kmip import credentials
from lab.kmip.alone import OLD_OPTION, OPTION, Alone, keep, passphrase_options, running
from lab.kmip.credentials import ServerFiles
from lab.schema.answers.kmip import KmipClient
from lab.schema.errors import KeysteadError
from protocol.crypto.certificates import key_digest
from protocol.errors import InvalidArgument, InvalidState, NotFound, ProductError
from protocol.kmip.dialect import Login
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access.authorization import Identity, caller_at
from services.kms.custody.opening import DATABASE
from services.kms.custody.rotation import Custodian
from services.kms.endpoints.kmip_clients import IdentityAdmission
from services.kms.objects.identifiers import IdScheme
from services.kms.sealing.roots.passphrase import PASSPHRASE_OPTION
from services.kms.service import ACCEPT_OPTION
from services.kms.settings.config import DEFAULT_SCOPE, Auditing, KmsConfig, KmsRole
from services.runtime.forking.child import withhold_memory
from services.runtime.streams import CONNECTIONS, Listener

SPARE_FILES: Final = 640
"""Open files of the process that are no connections: the store's, and a queue of newcomers."""


@dataclass(frozen=True)
class KmipServerSettings:
    """What a server is started with. ``files`` None: certificates are made.

    ``trust`` and ``revoke`` are PEM files of clients; the first get ``role`` in ``scope``.
    ``login``: what clients have to show beside their certificates. The first line of
    ``passphrase_file`` seals the keys from now on; ``rotate_kek`` wraps them under another KEK.
    """

    folder: Path
    host: str
    port: int
    files: ServerFiles | None = None
    trust: tuple[Path, ...] = ()
    revoke: tuple[Path, ...] = ()
    role: KmsRole = KmsRole.OWNER
    scope: str = DEFAULT_SCOPE
    audit: Auditing = Auditing.DURABLE
    accept_rollback: bool = False
    login: Login | None = None
    passphrase_file: Path | None = None
    rotate_kek: bool = False


@dataclass(frozen=True)
class ServingNotice:
    """What is told when it serves."""

    address: str
    folder: Path
    files: ServerFiles
    clients: tuple[KmipClient, ...]


Record = Callable[[str, dict[str, Any]], None]


async def serve(
    settings: KmipServerSettings, ready: Callable[[ServingNotice], None], record: Record
) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called when it does.

    KS-KMIP-001 when the folder is in use or cannot be written, KS-KMIP-002 when it cannot listen
    there, KS-KMIP-003 when it does not serve from what it finds, KS-KMIP-004 for certificates,
    KS-USE-003 for a passphrase that lacks or is another one.
    """
    withhold_memory()
    with lock_folder(settings.folder):
        (settings.folder / "disk").mkdir(mode=0o700, exist_ok=True)
        files = settings.files or _ensure_files(settings)
        words = passphrase_options(settings.passphrase_file)
        options = words | ({ACCEPT_OPTION: ""} if settings.accept_rollback else {})
        root = RootKind.PASSPHRASE if words else RootKind.KEYFILE
        config = KmsConfig(
            local_scope=settings.scope, audit=settings.audit, root=root, ids=IdScheme.TIMED
        )
        server = Alone(settings.folder / "disk", config, record=record, options=options)
        async with running(server):
            await keep(server, passphrase=words.get(PASSPHRASE_OPTION), rotate=settings.rotate_kek)
            admission = await server.service.kmip_identities()
            await _apply_trust(server, admission, settings, files)
            listener = await _open_listener(server, admission, settings, files)
            clients = tuple([_client(one) for one in admission.all()])
            address = _address(settings.host, listener.port or 0)
            with _catch_end_signals() as asked:
                ready(ServingNotice(address, settings.folder, files, clients))
                await _wait_for_end(server, asked)


def _ensure_files(settings: KmipServerSettings) -> ServerFiles:
    try:
        return credentials.ensure_certificates(settings.folder / "tls", settings.host)
    except InvalidArgument as error:
        where = _address(settings.host, settings.port)
        raise KeysteadError("KS-KMIP-002", f"{where}: {error}") from None


async def _open_listener(
    server: Alone, admission: IdentityAdmission, settings: KmipServerSettings, files: ServerFiles
) -> Listener:
    where = _address(settings.host, settings.port)
    try:
        chain, key = credentials.pair(files.certificate, files.key)
        return await server.service.open_kmip(
            admission,
            lambda: (chain, key),
            credentials.certificates(files.authority),
            outside=(settings.host, settings.port),
            refused=lambda error: server.node.record(
                "kmip.handshake_failed", level="warning", text=str(error)
            ),
            most=_room(),
            login=settings.login,
        )
    except InvalidArgument:
        text = f"{files.key} is not the key of {files.certificate}, or TLS finds them too weak"
        raise KeysteadError("KS-KMIP-004", text) from None
    except UnicodeError:
        raise KeysteadError("KS-KMIP-002", f"{where}: that is no name of a host") from None
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise KeysteadError("KS-KMIP-002", f"{where}: {why or error}") from None


def _address(host: str, port: int) -> str:
    """As one writes it: an address of IPv6 stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _room() -> int:
    """How many connections there may be: each is an open file, of which a process has so many.

    Its limit is raised as far as one may. Some are left for the store, and for connections that
    are taken only to be refused.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    wanted = CONNECTIONS + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return min(CONNECTIONS, soft - min(SPARE_FILES, soft // 2))


async def _apply_trust(
    server: Alone, admission: IdentityAdmission, settings: KmipServerSettings, files: ServerFiles
) -> None:
    """What was asked for is in the table before the first client is answered."""
    local = caller_at(server.service.config, server.node.name, local=True)
    trusted = [(file, settings.role, settings.scope) for file in settings.trust]
    if files.client is not None and not admission.all():
        # With --trust, the scope is that of its clients only.
        scope = DEFAULT_SCOPE if settings.trust else settings.scope
        trusted.insert(0, (files.client, KmsRole.OWNER, scope))
    for file, role, scope in trusted:
        [certificate, *_] = credentials.certificates(file)
        await admission.trust(local, certificate, role, scope)
    for file in settings.revoke:
        [certificate, *_] = credentials.certificates(file)
        try:
            await admission.revoke(local, key_digest(certificate).hex())
        except NotFound:
            raise KeysteadError("KS-KMIP-004", f"{file}: this server does not know it") from None


def _client(identity: Identity) -> KmipClient:
    return KmipClient(
        name=identity.name,
        role=identity.role.value,
        scope=identity.scope,
        revoked=identity.revoked,
        digest=identity.digest,
    )


@contextmanager
def _catch_end_signals() -> Iterator[asyncio.Event]:
    """Set by SIGINT and SIGTERM, instead of what they do else."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        yield asked
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _wait_for_end(server: Alone, asked: asyncio.Event) -> None:
    """Return when somebody ends it; raises what ended it by itself."""
    waiting = asyncio.get_running_loop().create_task(asked.wait())
    ends: set[asyncio.Future[Any]] = {waiting, server.node.failed}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if server.node.failed.done():
            server.node.failed.result()
    finally:
        waiting.cancel()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Nobody else serves from it meanwhile; KS-KMIP-001 when somebody does, or it is of no use."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeysteadError("KS-KMIP-001", f"{folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = f"{folder}: another key server runs in it"
            raise KeysteadError("KS-KMIP-001", text) from None
        try:
            yield
        except OSError as error:
            raise KeysteadError("KS-KMIP-001", f"{folder}: {error.strerror or error}") from None
    finally:
        os.close(lock)


@asynccontextmanager
async def open_server(
    folder: Path,
    passphrase_file: Path | None,
    record: Callable[[str, dict[str, Any]], None],
    option: str = OPTION,
) -> AsyncIterator[Alone]:
    """What is in ``folder``, with its lock held. ``option`` is the one that names the file.

    KS-USE-003 for a folder without keys and for a passphrase, KS-KMIP-001 when a server runs there
    or its disk refuses, KS-KMIP-003 when what is in it is not served from.
    """
    if not any((folder / "disk").glob(f"*/{DATABASE}.db")):  # to open it would begin a new one
        raise KeysteadError("KS-USE-003", f"{folder}: no key server has kept anything there")
    words = passphrase_options(passphrase_file)
    with lock_folder(folder):
        server = Alone(folder / "disk", KmsConfig(), record=record, options=words)
        async with running(server, option):
            yield server


_NO_TPM: Final = (
    "--root tpm is not available here: a server without a lab has no TPM, and one in software "
    f"beside its keys would open them for whoever has the disk; --root passphrase {OPTION} FILE "
    "keeps them from who has it"
)


@dataclass(frozen=True)
class Reseal:
    """``passphrase_file``: its first line is the new passphrase; ``old_passphrase_file``: that of
    the one that opens the keys now."""

    folder: Path
    root: RootKind
    passphrase_file: Path | None = None
    old_passphrase_file: Path | None = None


async def reseal(wanted: Reseal, record: Callable[[str, dict[str, Any]], None]) -> Custodian:
    """Durable on return. KS-USE-003 for words that lack or do not fit, and for a folder without
    keys; KS-KMIP-001 when a server runs in it or its disk refuses, KS-KMIP-003 when what is in it
    is not served from."""
    new = _words(wanted)
    async with open_server(wanted.folder, wanted.old_passphrase_file, record, OLD_OPTION) as server:
        return await _change_root(server, wanted, new)


async def _change_root(server: Alone, wanted: Reseal, new: KeyMaterial | None) -> Custodian:
    service = server.service
    local = caller_at(service.config, server.node.name, local=True)
    now = await service.custody.status()
    if wanted.old_passphrase_file is not None and now.root is not RootKind.PASSPHRASE:
        text = f"{OLD_OPTION}: no passphrase seals these keys, but their {now.root.value}"
        raise KeysteadError("KS-USE-003", text)
    try:
        await service.custody.change_root(local, wanted.root, new)
        return await service.custody.status()
    except InvalidState as error:
        raise KeysteadError("KS-USE-003", f"--root {wanted.root.value}: {error}") from None
    except ProductError as error:
        raise KeysteadError("KS-KMIP-001", str(error)) from None


def _words(wanted: Reseal) -> KeyMaterial | None:
    if wanted.root is RootKind.TPM:
        raise KeysteadError("KS-USE-003", _NO_TPM)
    given = wanted.passphrase_file is not None
    if given != (wanted.root is RootKind.PASSPHRASE):
        text = "names the passphrase of --root passphrase, and of no other root"
        raise KeysteadError("KS-USE-003", f"{OPTION} {text}")
    words = passphrase_options(wanted.passphrase_file).get(PASSPHRASE_OPTION)
    return None if words is None else KeyMaterial(words.encode())
