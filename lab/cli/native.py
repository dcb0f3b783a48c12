"""``provider create|update|export|import``, ``host remove-provider``: native key providers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.keys import PROVIDERS
from lab.cli.names import HostName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import field, moment, show_one
from lab.schema.commands import (
    HostRemoveProvider,
    ProviderCreate,
    ProviderExport,
    ProviderImport,
    ProviderUpdate,
)

NATIVE = (*PROVIDERS[:2], field("health"), field("details"), field("key_id", "KEY ID"))
BACKUP = (
    field("provider"),
    field("key_id", "KEY ID"),
    ("EXPORTED", lambda r: moment(r.exported_at)),
    field("tpm_required", "TPM REQUIRED"),
    field("file"),
    field("imported"),
)
Default = Annotated[bool, Parameter(negative="", help="Make it the default.")]
PasswordFile = Annotated[
    Path | None, Parameter(help="A file whose first line is the password of the backup.")
]


def create(
    provider: str,
    *,
    key_id: Annotated[str, Parameter(help="A UUID; a fresh one when left out.")] = "",
    tpm_required: Annotated[
        bool, Parameter(negative="", help="Hosts without a TPM take no part.")
    ] = False,
    default: Default = False,
    options: Options = DEFAULTS,
) -> None:
    """Make a native key provider: hosts derive its keys. Export it once before it is used.

    keystead provider create nkp
    keystead provider create nkp --tpm-required --default
    """
    answer = call(options, ProviderCreate(provider, key_id, tpm_required, default))
    show_one(answer, options.output, NATIVE, key="provider")


def update(
    provider: str,
    *,
    key_id: Annotated[str, Parameter(help="A UUID; a fresh one when left out.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Give the key derivation key of a native provider another id. Export the provider again.

    keystead provider update nkp
    keystead provider update nkp --key-id 6b29fc40-ca47-1067-b31d-00dd010662da
    """
    answer = call(options, ProviderUpdate(provider, key_id))
    show_one(answer, options.output, NATIVE, key="provider")


def export(
    provider: str,
    file: Path,
    *,
    password_file: PasswordFile = None,
    options: Options = DEFAULTS,
) -> None:
    """Write the backup of a native provider, a PKCS#12 file. Keep it: nothing else restores it.

    keystead provider export nkp nkp.p12 --password-file secret.txt
    keystead provider export nkp nkp.p12
    """
    command = ProviderExport(provider, str(file.absolute()), _text(password_file))
    show_one(call(options, command), options.output, BACKUP, key="provider")


def import_(
    file: Path,
    *,
    password_file: PasswordFile = None,
    default: Default = False,
    dry_run: Annotated[
        bool, Parameter(negative="", help="Say what is in it and change nothing.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Make a native provider of a backup: of one that was deleted, or of another vCenter's.

    keystead provider import nkp.p12 --password-file secret.txt --default
    keystead provider import nkp.p12 --dry-run
    """
    command = ProviderImport(str(file.absolute()), _text(password_file), default, dry_run)
    show_one(call(options, command), options.output, BACKUP, key="provider")


def remove(host: HostName, provider: str, *, options: Options = DEFAULTS) -> None:
    """Take a native provider from a host, at the host: vCenter brings it again at its next look.

    keystead host remove-provider esxi-003 nkp
    keystead host remove-provider esxi-003 nkp -o json
    """
    columns = (field("host"), field("crypto_state"), field("cached_keys"), field("providers"))
    answer = call(options, HostRemoveProvider(host, provider))
    show_one(answer, options.output, columns, key="host")


def _text(path: Path | None) -> str:
    return "" if path is None else str(path.absolute())
