"""Keys at their key servers, as the operator of these, and key providers of vCenter.

``key`` is a key's id, or ``provider/id``; ``kms`` is the key server, empty: the one that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from lab.schema.commands.arguments import FilePath, doc
from lab.schema.commands.base import Command, Look, absolute, check_names, wrong
from lab.schema.tables import ColumnTable, field
from protocol import names
from protocol.terms import RootKind

if TYPE_CHECKING:
    from lab.schema.answers import (
        AuditList,
        Fault,
        Key,
        KeyBackup,
        KeyList,
        KeyServer,
        KeyServerList,
        Provider,
        ProviderBackup,
        ProviderList,
    )

KMIP: Final = "kmip://"
"""With it an address of a key server begins."""
BUS: Final = "bus:"
"""The same of a node of the lab that is asked over the bus."""


Server = Annotated[str, doc("Key server; the one that has it.")]
Servers = Annotated[tuple[str, ...], doc("Key server; repeat it. Left out: all.")]
Default = Annotated[bool, doc("Make it the default.")]


class GetProviders(Look["ProviderList"], frozen=True, tag="get.providers"):
    """Key providers of vCenter, with the state of their servers [STD-03].

    keystead get providers
    keystead get providers -o name
    """


class GetKeys(Look["KeyList"], frozen=True, tag="get.keys"):
    """Every key of vCenter's inventory: whether its provider can give it, and who uses it [STD-20].

    keystead get keys
    keystead get keys -o wide
    """


class GetKms(Look["KeyServerList"], frozen=True, tag="get.kms"):
    """Key servers, with their keys by state, asked of the servers themselves.

    keystead get kms
    keystead get kms -o yaml
    """


class GetAudit(Look["AuditList"], frozen=True, tag="get.audit"):
    """A key server's audit trail: who did what to which key.

    keystead kms audit
    keystead kms audit kms -o json
    """

    words = "kms audit"
    kms: Annotated[str, doc("Key server; may be left out when there is one.", word=True)] = ""


class KmsKeyCreate(Command["Key"], frozen=True, tag="kms.key.create"):
    """Make a key at a key server, as its operator, Active: for a primary key.

    keystead kms key create kms
    keystead kms key create kms -o json
    """

    kms: str


class KmsKeyShow(Look["Key"], frozen=True, tag="kms.key.show"):
    """A key's attributes at its key server.

    keystead kms key show 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key show kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

    KS-USE-002 when no server has it.
    """

    key: str
    kms: Server = ""


class KmsKeyActivate(Command["Key"], frozen=True, tag="kms.key.activate"):
    """KMIP Activate: Pre-Active becomes Active.

    keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --kms kms
    """

    key: str
    kms: Server = ""


class _Grant(Command["Key"], frozen=True):
    key: str
    scope: Annotated[str, doc("Another scope than its own; that of a vCenter is its name.")]
    kms: Annotated[str, doc("Key server; all that have the key when left out.")] = ""

    def __post_init__(self) -> None:
        if not self.scope:
            raise wrong("to whom: give a scope; that of a vCenter is its name")
        check_names(names.SCOPE, self.scope)


class KmsKeyGrant(_Grant, frozen=True, tag="kms.key.grant"):
    """Let the clients of another scope get this key, and no other one of its scope.

    keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
    keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b --kms kms -o json

    KS-USE-002 when no server has it.
    """


class KmsKeyUngrant(_Grant, frozen=True, tag="kms.key.ungrant"):
    """Let the clients of that scope get the key no more; those that have it keep it.

    keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
    keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b -o json

    KS-USE-002 when no server has it.
    """


class KmsKeyRevoke(Command["Fault"], frozen=True, tag="kms.key.revoke"):
    """Revoke a key: a fault without undo, listed with its cure by `keystead get faults`.

    keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --compromised

    KMIP Revoke: Active becomes Deactivated [STD-19].
    """

    key: str
    compromised: Annotated[bool, doc("Reason Key Compromise: it becomes Compromised.")] = False


class KmsKeyDestroy(Command["Fault"], frozen=True, tag="kms.key.destroy"):
    """Destroy a key (revoked first): a fault without undo, listed with its cure.

    keystead kms key destroy 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key destroy kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    """

    key: str


class _Backup(Command["KeyBackup"], frozen=True):
    backup: str
    kms: Servers = ()

    def __post_init__(self) -> None:
        if not self.backup:
            raise wrong("a backup has a name")
        check_names(names.BACKUP, self.backup)


class KmsBackup(_Backup, frozen=True, tag="kms.backup"):
    """Take a backup of key servers; each is stopped for it, and started again.

    keystead kms backup before-the-change
    keystead kms backup nightly --kms kms-1

    Of servers that replicate each other's keys all are copied. A backup of the same name is
    replaced.
    """

    def message(self, answer: KeyBackup) -> str:
        return f"backup {answer.backup} of {', '.join(answer.kms)}"


class KmsRestore(_Backup, frozen=True, tag="kms.restore"):
    """Restore a backup of key servers: what was made or changed since is lost, and audited.

    keystead kms restore before-the-change
    keystead kms restore nightly --kms kms-1

    They are stopped, and start from it. KS-USE-002 when there is no such backup.
    """

    def message(self, answer: KeyBackup) -> str:
        return f"restored {answer.backup} to {', '.join(answer.kms)}"


CUSTODY = ColumnTable(
    "kms",
    (
        field("kms"),
        field("machine"),
        field("keys"),
        field("root"),
        ("KEK", lambda server: server.describe_kek()),
    ),
)


class KmsRotateKek(Command["KeyServer"], frozen=True, tag="kms.rotate_kek"):
    """Make another KEK, durable when this returns; keys come under it one after another.

    keystead kms rotate-kek kms
    keystead kms rotate-kek kms -o json
    """

    table = CUSTODY
    kms: str


class KmsSetRoot(Command["KeyServer"], frozen=True, tag="kms.set_root"):
    """Have the key ring sealed by another root; the keys themselves are not touched.

    keystead kms set-root kms --root tpm
    keystead kms set-root kms --root passphrase --passphrase-file secret.txt
    """

    table = CUSTODY
    kms: str
    root: Annotated[RootKind, doc("keyfile, passphrase or tpm.", name="--root")]
    passphrase_file: Annotated[
        FilePath, doc("A file whose first line is the passphrase of root passphrase.")
    ] = ""

    def __post_init__(self) -> None:
        absolute(self.passphrase_file)
        if (self.root is RootKind.PASSPHRASE) is not bool(self.passphrase_file):
            raise wrong("a passphrase file goes with the root passphrase, and with no other")

    def files_read(self) -> tuple[str, ...]:
        return (self.passphrase_file,)


def split_server(text: str) -> tuple[str, str]:
    """The name (empty: none is given) and the address of a server that is written NAME=ADDRESS."""
    name, equals, address = text.partition("=")
    return (name, address) if equals else ("", text)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the entry of a server [STD-01]; None and empty: nothing.

    ``user`` empty: no user name any more.
    """

    timeout: Annotated[
        int | None, doc("Seconds for each handshake and each answer; -1: as the lab's knob says.")
    ] = None
    user: Annotated[
        str | None,
        doc("A KMIP server is told this name, beside the certificate.", name="--username"),
    ] = None
    password_file: Annotated[FilePath, doc("Its first line is the user's password.")] = ""
    proxy: Annotated[str, doc("HOST:PORT; not built: it is refused.")] = ""

    def __post_init__(self) -> None:
        absolute(self.password_file)
        if bool(self.user) is not bool(self.password_file):
            raise wrong("a user name goes with a password file, and neither without the other")


class ProviderAdd(Command["Provider"], frozen=True, tag="provider.add"):
    """Register a standard key provider; under an old name it restores that one [LOCK-06].

    keystead provider add kms-provider --server kms
    keystead provider add outside --server kmip://127.0.0.1:5696 --timeout 5

    A node of the lab is asked as the lab's file says. Trust with a server at an address is to be
    made. `bus:NODE` is refused (KS-USE-003) of a node that takes clients by KMIP alone. A server
    has its address as its name, unless another one stands before it.
    """

    provider: str
    servers: Annotated[
        tuple[str, ...],
        doc("Key server, or kmip://HOST:PORT, or NAME=ADDRESS; repeat it.", name="--server"),
    ]
    default: Default = False
    entry: Entry = Entry()

    def __post_init__(self) -> None:
        if not self.provider:
            raise wrong("a key provider has a name")
        check_names(names.PROVIDER, self.provider)
        for server in self.servers:
            name, address = split_server(server)
            check_names(names.PROVIDER, name)
            if not address.startswith(KMIP):
                check_names(names.NODE, address.removeprefix(BUS))
        if not all(self.servers) or not self.servers:
            raise wrong(f"provider {self.provider}: name its key servers: --server")

    def files_read(self) -> tuple[str, ...]:
        return (self.entry.password_file,)


class ProviderSet(Command["Provider"], frozen=True, tag="provider.set"):
    """Change the entries of these ``servers`` of a standard provider, of all of them when none is
    named; KS-USE-002 for a provider or a server that vCenter does not have."""

    provider: str
    servers: tuple[str, ...] = ()
    entry: Entry = Entry()

    def __post_init__(self) -> None:
        if self.entry == Entry():
            raise wrong("say what to change: time-out, or user name with password")

    def files_read(self) -> tuple[str, ...]:
        return (self.entry.password_file,)


NATIVE = ColumnTable(
    "provider",
    (
        field("provider"),
        field("management_type", "TYPE"),
        field("health"),
        field("details"),
        field("key_id", "KEY ID"),
    ),
)


class ProviderCreate(Command["Provider"], frozen=True, tag="provider.create"):
    """Make a native key provider: hosts derive its keys [NKP-01]. Export it once before it is used.

    keystead provider create nkp
    keystead provider create nkp --tpm-required --default

    A provider that was not exported is not used [NKP-05].
    """

    table = NATIVE
    provider: str
    key_id: Annotated[str, doc("A UUID; a fresh one when left out.")] = ""
    tpm_required: Annotated[bool, doc("Hosts without a TPM take no part [NKP-12].")] = False
    default: Default = False

    def __post_init__(self) -> None:
        if not self.provider:
            raise wrong("a key provider has a name")
        check_names(names.PROVIDER, self.provider)


class ProviderUpdate(Command["Provider"], frozen=True, tag="provider.update"):
    """Give the key derivation key of a native provider another id. Export the provider again.

    keystead provider update nkp
    keystead provider update nkp --key-id 6b29fc40-ca47-1067-b31d-00dd010662da

    Its backup is out of date then [NKP-01, NKP-05].
    """

    table = NATIVE
    provider: str
    key_id: Annotated[str, doc("A UUID; a fresh one when left out.")] = ""


class ProviderExport(Command["ProviderBackup"], frozen=True, tag="provider.export"):
    """Write the backup of a native provider, a PKCS#12 file. Keep it: nothing else restores it.

    keystead provider export nkp nkp.p12 --password-file secret.txt
    keystead provider export nkp nkp.p12

    Without a password the file has the key derivation key in clear [NKP-03]. A file that is there
    is not replaced: KS-USE-003.
    """

    provider: str
    file: FilePath
    password_file: Annotated[
        FilePath, doc("A file whose first line is the password of the backup.")
    ] = ""

    def __post_init__(self) -> None:
        absolute(self.file, self.password_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.password_file,)

    def file_written(self) -> str:
        return self.file


class ProviderImport(Command["ProviderBackup"], frozen=True, tag="provider.import"):
    """Make a native provider of a backup: of one that was deleted, or of another vCenter's.

    keystead provider import nkp.p12 --password-file secret.txt --default
    keystead provider import nkp.p12 --dry-run

    Rules [NKP-04] and [LOCK-06].
    """

    file: FilePath
    password_file: Annotated[
        FilePath, doc("A file whose first line is the password of the backup.")
    ] = ""
    default: Default = False
    dry_run: Annotated[bool, doc("Say what is in it and change nothing.")] = False

    def __post_init__(self) -> None:
        absolute(self.file, self.password_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.file, self.password_file)


class ProviderDefault(Command["Provider"], frozen=True, tag="provider.default"):
    """Make a provider the default for new keys [STD-02].

    keystead provider default kms-provider
    keystead provider default second -o json
    """

    provider: str


class ProviderDelete(Command["Fault"], frozen=True, tag="provider.delete"):
    """Delete a key provider (use does not block it): listed with its cure by `keystead get faults`.

    keystead provider delete kms-provider
    keystead provider delete second -o json

    Rule [DEL-01].
    """

    provider: str
