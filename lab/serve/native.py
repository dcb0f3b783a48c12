"""Native key providers: made, changed, exported to a file, imported from one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.native_backups import import_backup, take_backup, updating
from lab.schema import commands
from lab.schema.answers import Provider, ProviderBackup
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.session import LabSession
from lab.serve.views import provider_view, view
from protocol.crypto.provider_backup import read_backup
from protocol.errors import InvalidArgument
from protocol.messages.vcenter import CreateNativeProvider
from protocol.terms import ProviderId


@contextmanager
def _suggest_fix(fix: str) -> Iterator[None]:
    """An argument that vCenter refuses is told with what helps."""
    try:
        yield
    except InvalidArgument as error:
        raise KeysteadError("KS-USE-003", str(error), fix) from None


@executes
async def create(session: LabSession, command: commands.ProviderCreate) -> Provider:
    """See ``ProviderCreate``."""
    message = CreateNativeProvider(
        provider=ProviderId(command.provider),
        key_id=command.key_id,
        tpm_required=command.tpm_required,
        make_default=command.default,
    )
    with _suggest_fix("give --key-id a UUID that is not all zeros, or leave it out"):
        return provider_view((await session.ask(session.vcenter, message)).provider)


@executes
async def update(session: LabSession, command: commands.ProviderUpdate) -> Provider:
    """See ``ProviderUpdate``."""
    message = updating(command.provider, command.key_id, session.lab.operation_id())
    with _suggest_fix("name a native key provider, and a UUID that is not all zeros"):
        return provider_view((await session.ask(session.vcenter, message)).provider)


@executes
async def export(session: LabSession, command: commands.ProviderExport) -> ProviderBackup:
    """See ``ProviderExport``. Whoever gives the command has made the file, with room for the
    backup, before: a download counts as a backup."""
    password = _password(session, command.password_file)
    provider = ProviderId(command.provider)
    backup = await take_backup(session.lab, session.vcenter, provider, password)
    found = read_backup(backup.reveal(), password)
    session.files.write(command.file, backup)
    return view(ProviderBackup, found, file=command.file)


@executes
async def import_(session: LabSession, command: commands.ProviderImport) -> ProviderBackup:
    """See ``ProviderImport``."""
    password = _password(session, command.password_file)
    backup = session.files.content(command.file)
    lab = session.lab
    given = "the password in --password-file" if password else "no password"
    with _suggest_fix(f"{command.file} was read with {given}: give the one that it was made with"):
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


def _password(session: LabSession, path: str) -> str:
    """Empty without a file. A file has a password, or the backup would be in clear against what
    was asked for."""
    return session.files.secret(path) if path else ""
