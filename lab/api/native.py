"""Native key providers: made, changed, exported to a file, imported from one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.native_backups import import_backup, take_backup, updating
from lab.api import commands
from lab.api.answers import Provider, ProviderBackup
from lab.api.session import Session
from lab.api.views import provider_view
from lab.errors import KeysteadError
from lab.topology.secret_files import read_file, secret_in, unusable
from protocol.crypto.provider_backup import read_backup
from protocol.errors import InvalidArgument
from protocol.messages.vcenter import CreateNativeProvider
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId

_ROOM = 16 * 1024  # bytes that are kept free for one of ours, which has about 1 KiB


@contextmanager
def _corrected_by(fix: str) -> Iterator[None]:
    """An argument that vCenter refuses is told with what helps."""
    try:
        yield
    except InvalidArgument as error:
        raise KeysteadError("KS-USE-003", str(error), fix) from None


async def create(session: Session, command: commands.ProviderCreate) -> Provider:
    """See ``ProviderCreate``."""
    message = CreateNativeProvider(
        provider=ProviderId(command.provider),
        key_id=command.key_id,
        tpm_required=command.tpm_required,
        make_default=command.default,
    )
    with _corrected_by("give --key-id a UUID that is not all zeros, or leave it out"):
        return provider_view((await session.ask(session.vcenter, message)).provider)


async def update(session: Session, command: commands.ProviderUpdate) -> Provider:
    """See ``ProviderUpdate``."""
    message = updating(command.provider, command.key_id, session.lab.operation_id())
    with _corrected_by("name a native key provider, and a UUID that is not all zeros"):
        return provider_view((await session.ask(session.vcenter, message)).provider)


async def export(session: Session, command: commands.ProviderExport) -> ProviderBackup:
    """See ``ProviderExport``. The file and the room for it are there before vCenter is asked: what
    it counts as a backup is then written, or the command fails before."""
    password = _password(command.password_file)
    try:
        place = os.open(command.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise unusable(command.file, error) from None
    with os.fdopen(place, "wb") as file:
        try:
            os.posix_fallocate(place, 0, _ROOM)
            lab, provider = session.lab, ProviderId(command.provider)
            backup = await take_backup(lab, session.vcenter, provider, password)
            file.write(backup.reveal())
            file.truncate()
            file.flush()
            os.fsync(place)
            _sync_folder(command.file)
        except BaseException as error:
            Path(command.file).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise unusable(command.file, error) from None
            raise
    found = read_backup(backup.reveal(), password)
    return ProviderBackup(
        provider=found.provider,
        file=command.file,
        key_id=found.key_id,
        exported_at=found.exported_at,
        tpm_required=found.tpm_required,
    )


async def import_(session: Session, command: commands.ProviderImport) -> ProviderBackup:
    """See ``ProviderImport``."""
    password = _password(command.password_file)
    backup = KeyMaterial(read_file(command.file))
    lab = session.lab
    given = "the password in --password-file" if password else "no password"
    with _corrected_by(f"{command.file} was read with {given}: give the one that it was made with"):
        done = await import_backup(
            lab,
            session.vcenter,
            backup,
            password,
            make_default=command.default,
            dry_run=command.dry_run,
        )
    return ProviderBackup(
        provider=done.provider,
        file=command.file,
        key_id=done.key_id,
        exported_at=done.export_time,
        tpm_required=done.tpm_required,
        imported=done.state is not None,
    )


def _sync_folder(path: str) -> None:
    folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _password(path: str) -> str:
    """Empty without a file. A file has a password, or the backup would be in clear against what
    was asked for."""
    return secret_in(path) if path else ""
