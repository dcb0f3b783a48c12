"""Native key providers: made, changed, backed up, imported."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from chaos.actions.base import Acting, Action, ActionTarget
from chaos.faults.base import Params
from chaos.naming import name_validator
from chaos.native_backups import import_backup, take_backup, updating
from chaos.workload import OperationOutcome
from protocol import names
from protocol.errors import NotFound
from protocol.messages.vcenter import CreateNativeProvider
from protocol.terms import ProviderId

Provider = Annotated[str, name_validator(names.PROVIDER)]
Vcenter = Annotated[str, name_validator(names.NODE)]
Backup = Annotated[str, name_validator(names.BACKUP)]


class AddNativeParams(Params):
    """Its name; ``tpm_required``: hosts without a TPM take no part; ``default``: make it vCenter's
    default. At which ``vcenter``; when it is left out, at the first."""

    provider: Provider
    tpm_required: bool = False
    default: bool = False
    vcenter: Vcenter | None = None


class UpdateParams(Params):
    """Which provider; the id (a UUID) that its key derivation key gets, a fresh one when it is left
    out."""

    provider: Provider
    key_id: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    vcenter: Vcenter | None = None


class ExportParams(Params):
    """Which provider, and what its backup is called; it is kept until the run ends. ``authority``:
    by which name or address the client reaches vCenter; by its name when that is left out."""

    provider: Provider
    backup: Backup
    vcenter: Vcenter | None = None
    authority: Annotated[str, StringConstraints(min_length=1, max_length=253)] | None = None


class ImportParams(Params):
    """Which backup of this run; ``default``: make the provider vCenter's default."""

    backup: Backup
    default: bool = False
    vcenter: Vcenter | None = None


async def _add(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = CreateNativeProvider(
        provider=ProviderId(params.provider),
        tpm_required=params.tpm_required,
        make_default=params.default,
    )
    await acting.ask(await acting.vcenter("", params), message)
    return OperationOutcome("ok", {"made": params.provider})


async def _update(acting: Acting, target: str, params: Any) -> OperationOutcome:
    message = updating(params.provider, params.key_id or "", acting.name)
    await acting.ask(await acting.vcenter("", params), message)
    return OperationOutcome("ok", {"updated": params.provider})


async def _export(acting: Acting, target: str, params: Any) -> OperationOutcome:
    vcenter = await acting.vcenter("", params)
    acting.exports[params.backup] = await take_backup(
        acting.lab, vcenter, ProviderId(params.provider), authority=params.authority
    )
    return OperationOutcome("ok", {"exported": params.provider})


async def _import(acting: Acting, target: str, params: Any) -> OperationOutcome:
    backup = acting.exports.get(params.backup)
    if backup is None:
        raise NotFound(f"nothing was exported as {params.backup} in this run")
    vcenter = await acting.vcenter("", params)
    done = await import_backup(acting.lab, vcenter, backup, make_default=params.default)
    return OperationOutcome("ok", {"imported": str(done.provider)})


ACTIONS: Final = (
    Action(
        "provider.add-native",
        ActionTarget.NOTHING,
        "create a native key provider; it makes no keys before its first export",
        _add,
        AddNativeParams,
        "provider: second, tpm_required: true",
    ),
    Action(
        "provider.update-native",
        ActionTarget.NOTHING,
        "change the id of a native key provider's key derivation key; take a new backup",
        _update,
        UpdateParams,
        "provider: nkp",
    ),
    Action(
        "provider.export",
        ActionTarget.NOTHING,
        "take a backup of a native key provider",
        _export,
        ExportParams,
        "provider: nkp, backup: monday",
    ),
    Action(
        "provider.import",
        ActionTarget.NOTHING,
        "create a native key provider from its backup",
        _import,
        ImportParams,
        "backup: monday",
    ),
)
