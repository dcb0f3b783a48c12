"""``get keys|providers|kms``, ``kms key ...``, ``kms audit``, ``provider ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.faults import began
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import Row, document, field, fields_of, is_document, moment, say, show, show_one
from lab.schema.commands import (
    Command,
    GetAudit,
    GetKeys,
    GetKms,
    GetProviders,
    KmsBackup,
    KmsKeyActivate,
    KmsKeyDestroy,
    KmsKeyGrant,
    KmsKeyRevoke,
    KmsKeyShow,
    KmsKeyUngrant,
    KmsRestore,
    ProviderAdd,
    ProviderDefault,
    ProviderDelete,
    ProviderSet,
)
from lab.schema.commands.keys import Entry
from lab.schema.errors import KeysteadError
from protocol.terms import ProviderHealth

if TYPE_CHECKING:
    from lab.schema.answers import Key, KeyBackup

KEY = (field("key_id", "KEY"), field("kms"), field("state"), field("names"))
ATTRIBUTES = (
    "ATTRIBUTES",
    lambda row: [f"{one.name}: {one.value}" for one in row.attributes],
)


def provider_status(provider: Row) -> str:
    """Its health where it has one, else how its key servers answer."""
    health: ProviderHealth = provider.health
    return str(provider.status if health is ProviderHealth.NONE else health)


PROVIDERS = (
    field("provider"),
    field("management_type", "TYPE"),
    field("servers"),
    field("default"),
    ("STATUS", lambda r: provider_status(r)),
)
KMS = (field("kms"), field("machine"), field("keys"), field("states"), field("peer"))
CUSTODY = (
    field("root"),
    ("KEK", lambda r: r.kek if not r.rewrapping else f"{r.kek}, {r.rewrapping} keys to re-wrap"),
)
Timeout = Annotated[
    int | None,
    Parameter(help="Seconds for each handshake and each answer; -1: as the lab's knob says."),
]
User = Annotated[str, Parameter(help="A KMIP server is told this name, beside the certificate.")]
PasswordFile = Annotated[Path | None, Parameter(help="Its first line is the user's password.")]
Proxy = Annotated[str, Parameter(help="HOST:PORT; not built: it is refused.")]
Server = Annotated[str, Parameter(name="--kms", help="Key server; the one that has it.")]


def get_keys(*keys: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Every key of vCenter's inventory: whether its provider can give it, and who uses it.

    keystead get keys
    keystead get keys -o wide
    """
    columns = (
        field("key"),
        field("available"),
        field("reason"),
        field("encrypted_vms", "VMS"),
        field("affected_hosts", "HOSTS"),
    )
    Listing(columns, key="key").get(GetKeys(), keys, view, options)


def get_providers(*providers: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Key providers of vCenter, with the state of their servers.

    keystead get providers
    keystead get providers -o name
    """
    wide = (field("unreachable"), field("default_of"))
    Listing(PROVIDERS, wide, key="provider").get(GetProviders(), providers, view, options)


def get_kms(*servers: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Key servers, with their keys by state.

    keystead get kms
    keystead get kms -o yaml
    """
    Listing(KMS, CUSTODY, key="kms", rare=(field("rejects"),)).get(GetKms(), servers, view, options)


def key_show(key: str, *, kms: Server = "", options: Options = DEFAULTS) -> None:
    """A key's attributes at its key server.

    keystead kms key show 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key show kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json
    """
    _show_key(call(options, KmsKeyShow(key, kms)), options)


def key_activate(key: str, *, kms: Server = "", options: Options = DEFAULTS) -> None:
    """KMIP Activate: Pre-Active becomes Active.

    keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --kms kms
    """
    _show_key(call(options, KmsKeyActivate(key, kms)), options)


def key_grant(key: str, scope: str, *, kms: Server = "", options: Options = DEFAULTS) -> None:
    """Let the clients of another scope get this key, a vCenter's scope being its name.

    keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
    keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b --kms kms -o json
    """
    _show_key(call(options, KmsKeyGrant(key, scope, kms)), options)


def key_ungrant(key: str, scope: str, *, kms: Server = "", options: Options = DEFAULTS) -> None:
    """Let the clients of that scope get the key no more.

    keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
    keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b -o json
    """
    _show_key(call(options, KmsKeyUngrant(key, scope, kms)), options)


def _show_key(answer: Key, options: Options) -> None:
    shown = ("key_id", "kms", "state", "names", "attributes")
    wide = (*[field(name) for name in fields_of(answer) if name not in shown], ATTRIBUTES)
    show_one(answer, options.output, KEY, wide, key="key_id")


def key_revoke(
    key: str,
    *,
    compromised: Annotated[
        bool, Parameter(negative="", help="Reason Key Compromise: it becomes Compromised.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Revoke a key: a fault without undo, listed with its cure by `keystead get faults`.

    keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --compromised
    """
    began(call(options, KmsKeyRevoke(key, compromised)), options)


def key_destroy(key: str, *, options: Options = DEFAULTS) -> None:
    """Destroy a key (revoked first): a fault without undo, listed with its cure.

    keystead kms key destroy 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key destroy kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    """
    began(call(options, KmsKeyDestroy(key)), options)


Servers = Annotated[
    tuple[str, ...],
    Parameter(name="--kms", negative="", help="Key server; repeat it. Left out: all."),
]


def kms_backup(backup: str, *, kms: Servers = (), options: Options = DEFAULTS) -> None:
    """Take a backup of key servers; each is stopped for it, and started again.

    keystead kms backup before-the-change
    keystead kms backup nightly --kms kms-1
    """
    _call_and_report(KmsBackup(backup, kms), "backup {} of {}", options)


def kms_restore(backup: str, *, kms: Servers = (), options: Options = DEFAULTS) -> None:
    """Restore a backup of key servers: what was made or changed since is lost, and audited.

    keystead kms restore before-the-change
    keystead kms restore nightly --kms kms-1
    """
    _call_and_report(KmsRestore(backup, kms), "restored {} to {}", options)


def _call_and_report(command: Command[KeyBackup], said: str, options: Options) -> None:
    answer = call(options, command)
    if is_document(options.output):
        document(answer, options.output)
    else:
        say(said.format(answer.backup, ", ".join(answer.kms)))


def audit(
    kms: Annotated[str, Parameter(help="Key server; may be left out when there is one.")] = "",
    *,
    options: Options = DEFAULTS,
) -> None:
    """A key server's audit trail: who did what to which key.

    keystead kms audit
    keystead kms audit kms -o json
    """
    columns = (
        field("sequence", "NO"),
        ("TIME", lambda r: moment(r.at)),
        field("who"),
        field("operation"),
        field("key_id", "KEY"),
        ("RESULT", lambda r: r.result if r.times == 1 else f"{r.result}, {r.times} times"),
    )
    show(
        call(options, GetAudit(kms)),
        options.output,
        columns,
        (field("digest"),),
        key="sequence",
    )


def provider_add(
    provider: str,
    *,
    server: Annotated[
        tuple[str, ...],
        Parameter(name="--server", negative="", help="Key server, or kmip://HOST:PORT; repeat it."),
    ] = (),
    default: Annotated[bool, Parameter(negative="", help="Make it the default.")] = False,
    timeout: Timeout = None,
    username: User = "",
    password_file: PasswordFile = None,
    proxy: Proxy = "",
    options: Options = DEFAULTS,
) -> None:
    """Register a standard key provider; under an old name it restores that one (LOCK-06).

    keystead provider add kms-provider --server kms
    keystead provider add outside --server kmip://127.0.0.1:5696 --timeout 5
    """
    entry = Entry(
        timeout=timeout, user=username or None, password_file=_path(password_file), proxy=proxy
    )
    answer = call(options, ProviderAdd(provider, server, default, entry))
    show_one(answer, options.output, PROVIDERS, key="provider")


def provider_set(
    provider: str,
    *,
    server: Annotated[
        tuple[str, ...],
        Parameter(name="--server", negative="", help="Its name; repeat it. Left out: all of them."),
    ] = (),
    timeout: Timeout = None,
    username: User = "",
    password_file: PasswordFile = None,
    no_username: Annotated[bool, Parameter(negative="", help="No user name any more.")] = False,
    proxy: Proxy = "",
    options: Options = DEFAULTS,
) -> None:
    """Change the entries of a standard provider's servers: time-out, user name and password.

    keystead provider set outside --timeout 5
    keystead provider set outside --server 127.0.0.1:5696 --username vc --password-file pw.txt
    """
    if no_username and username:
        raise KeysteadError("KS-USE-003", "--no-username: and there is --username")
    name = "" if no_username else username or None
    entry = Entry(timeout=timeout, user=name, password_file=_path(password_file), proxy=proxy)
    answer = call(options, ProviderSet(provider, server, entry))
    show_one(answer, options.output, PROVIDERS, key="provider")


def _path(file: Path | None) -> str:
    return "" if file is None else str(file.absolute())


def provider_default(provider: str, *, options: Options = DEFAULTS) -> None:
    """Make a provider the default.

    keystead provider default kms-provider
    keystead provider default second -o json
    """
    answer = call(options, ProviderDefault(provider))
    show_one(answer, options.output, PROVIDERS, key="provider")


def provider_delete(provider: str, *, options: Options = DEFAULTS) -> None:
    """Delete a key provider (use does not block it): listed with its cure by `keystead get faults`.

    keystead provider delete kms-provider
    keystead provider delete second -o json
    """
    began(call(options, ProviderDelete(provider)), options)
