"""Keys at key servers, by their operator, and key providers of vCenter.

``key`` is a key id or ``provider/id``; ``kms`` is the key server, empty: the one that has the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from lab.schema.commands.base import Command, FilePath, Look, absolute, check_names, doc, wrong
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
"""Prefix of the address of a KMIP server."""
BUS: Final = "bus:"
"""Prefix of the address of a node of the lab that is used over the bus."""


Server = Annotated[str, doc("Key server. Default: the one that has the key.")]
Servers = Annotated[tuple[str, ...], doc("Key server; can be repeated. Default: all.")]
Default = Annotated[bool, doc("Make it the default key provider.")]


class GetProviders(Look["ProviderList"], frozen=True, tag="get.providers"):
    """Key providers of vCenter with the state of their key servers [STD-03].

    keystead get providers
    keystead get providers -o name
    """


class GetKeys(Look["KeyList"], frozen=True, tag="get.keys"):
    """Keys in vCenter's inventory: availability at the key provider, and users [STD-20].

    keystead get keys
    keystead get keys -o wide
    """


class GetKms(Look["KeyServerList"], frozen=True, tag="get.kms"):
    """Key servers with the number of their keys by state, read from the servers.

    keystead get kms
    keystead get kms -o yaml
    """


class GetAudit(Look["AuditList"], frozen=True, tag="get.audit"):
    """Show a key server's audit trail: which client did what to which key.

    keystead kms audit
    keystead kms audit kms -o json
    """

    words = "kms audit"
    kms: Annotated[str, doc("Key server; optional if the lab has only one.", word=True)] = ""


class KmsKeyCreate(Command["Key"], frozen=True, tag="kms.key.create"):
    """Create an Active key at a key server, for use as a primary key.

    keystead kms key create kms
    keystead kms key create kms -o json
    """

    kms: str


class KmsKeyShow(Look["Key"], frozen=True, tag="kms.key.show"):
    """Show the attributes of a key at its key server.

    keystead kms key show 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key show kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 -o json

    KS-USE-002 when no server has it.
    """

    key: str
    kms: Server = ""


class KmsKeyActivate(Command["Key"], frozen=True, tag="kms.key.activate"):
    """Activate a key (KMIP Activate): Pre-Active becomes Active.

    keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key activate 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --kms kms
    """

    key: str
    kms: Server = ""


class _Grant(Command["Key"], frozen=True):
    key: str
    scope: Annotated[str, doc("The other scope; the scope of a vCenter is the vCenter's name.")]
    kms: Annotated[str, doc("Key server. Default: all that have the key.")] = ""

    def __post_init__(self) -> None:
        if not self.scope:
            raise wrong("name a scope; the scope of a vCenter is the vCenter's name")
        check_names(names.SCOPE, self.scope)


class KmsKeyGrant(_Grant, frozen=True, tag="kms.key.grant"):
    """Allow the clients of another scope to get this one key.

    keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
    keystead kms key grant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b --kms kms -o json

    KS-USE-002 when no server has it.
    """


class KmsKeyUngrant(_Grant, frozen=True, tag="kms.key.ungrant"):
    """Withdraw a grant: clients of the other scope can no longer get the key.

    keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b
    keystead kms key ungrant 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 vcenter-b -o json

    Clients that already have the key keep it. KS-USE-002 when no server has it.
    """


class KmsKeyRevoke(Command["Fault"], frozen=True, tag="kms.key.revoke"):
    """Revoke a key, a fault without undo; `keystead get faults` shows its cure.

    keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key revoke 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --compromised

    KMIP Revoke: Active becomes Deactivated [STD-19].
    """

    key: str
    compromised: Annotated[
        bool, doc("Revoke with reason Key Compromise: the key becomes Compromised.")
    ] = False


class KmsKeyDestroy(Command["Fault"], frozen=True, tag="kms.key.destroy"):
    """Revoke and destroy a key, a fault without undo; `keystead get faults` shows its cure.

    keystead kms key destroy 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    keystead kms key destroy kms-provider/5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001
    """

    key: str


class _Backup(Command["KeyBackup"], frozen=True):
    backup: str
    kms: Servers = ()

    def __post_init__(self) -> None:
        if not self.backup:
            raise wrong("the name of the backup is empty")
        check_names(names.BACKUP, self.backup)


class KmsBackup(_Backup, frozen=True, tag="kms.backup"):
    """Back up key servers; each is stopped for the backup and started again.

    keystead kms backup before-the-change
    keystead kms backup nightly --kms kms-1

    Servers that replicate are backed up together. A backup of the same name is replaced.
    """

    def message(self, answer: KeyBackup) -> str:
        return f"backup {answer.backup} of {', '.join(answer.kms)}"


class KmsRestore(_Backup, frozen=True, tag="kms.restore"):
    """Restore key servers from a backup; later keys and changes are lost, and audited.

    keystead kms restore before-the-change
    keystead kms restore nightly --kms kms-1

    The servers are stopped and started from the backup. KS-USE-002 when there is no such backup.
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
    """Create a new KEK at a key server; it is durable when the command returns.

    keystead kms rotate-kek kms
    keystead kms rotate-kek kms -o json

    The server then wraps its keys under the new KEK, one after the other.
    """

    table = CUSTODY
    kms: str


class KmsSetRoot(Command["KeyServer"], frozen=True, tag="kms.set_root"):
    """Seal a key server's KEKs under another root; the keys themselves do not change.

    keystead kms set-root kms --root tpm
    keystead kms set-root kms --root passphrase --passphrase-file secret.txt
    """

    table = CUSTODY
    kms: str
    root: Annotated[RootKind, doc("keyfile, passphrase or tpm.", name="--root")]
    passphrase_file: Annotated[
        FilePath, doc("File whose first line is the passphrase, for root passphrase.")
    ] = ""

    def __post_init__(self) -> None:
        absolute(self.passphrase_file)
        if (self.root is RootKind.PASSPHRASE) is not bool(self.passphrase_file):
            raise wrong("the root passphrase needs a passphrase file, other roots take none")

    def files_read(self) -> tuple[str, ...]:
        return (self.passphrase_file,)


def split_server(text: str) -> tuple[str, str]:
    """The name (empty if there is none) and the address of a server given as NAME=ADDRESS."""
    name, equals, address = text.partition("=")
    return (name, address) if equals else ("", text)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a server's entry [STD-01]; None and empty: no change.

    An empty ``user`` removes the user name.
    """

    timeout: Annotated[
        int | None,
        doc("Time-out in seconds of each handshake and each answer; -1: the lab's knob."),
    ] = None
    user: Annotated[
        str | None,
        doc("User name for a KMIP server, in addition to the certificate.", name="--username"),
    ] = None
    password_file: Annotated[
        FilePath, doc("File whose first line is the password of that user.")
    ] = ""
    proxy: Annotated[str, doc("HOST:PORT. Proxies are not supported: refused.")] = ""

    def __post_init__(self) -> None:
        absolute(self.password_file)
        if bool(self.user) is not bool(self.password_file):
            raise wrong("give a user name and a password file together, or neither of them")


KeyTypeName = Literal["", "rawKey", "wrappedKey"]
"""vim25 KmipClusterInfo.KeyType, or nothing."""


class ProviderKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What new keys of a standard provider are [KEY-07], of a vCenter 9.0; empty: no change."""

    key_type: Annotated[
        KeyTypeName,
        doc("rawKey: keys are at the key server. wrappedKey: only their wrapping key is."),
    ] = ""
    wrapping_key: Annotated[
        str, doc("Id of a key at the key server that wraps new keys; never replaced.")
    ] = ""
    rotation_days: Annotated[
        int | None,
        doc("vCenter creates the wrapping key, and another one after so many days: 30 to 3650."),
    ] = None

    def __post_init__(self) -> None:
        if not self.key_type and (self.wrapping_key or self.rotation_days is not None):
            raise wrong("--wrapping-key and --rotation-days need --key-type")
        if self.wrapping_key and self.rotation_days is not None:
            raise wrong("a wrapping key given by its id is not replaced: leave --rotation-days out")
        check_names(names.WRAPPING_KEY, self.wrapping_key)


class ProviderAdd(Command["Provider"], frozen=True, tag="provider.add"):
    """Register a standard key provider; an earlier name restores that provider [LOCK-06].

    keystead provider add kms-provider --server kms
    keystead provider add outside --server kmip://127.0.0.1:5696 --timeout 5
    keystead provider add wrapping --server kms --key-type wrappedKey --rotation-days 90

    A node of the lab is used over the bus or by KMIP, as the Lab file says. `bus:NODE` is refused
    (KS-USE-003) for a node that serves KMIP only. For a server with a kmip:// address, set up the
    trust afterwards. The name of a server is its address unless you give NAME=ADDRESS.
    """

    provider: str
    servers: Annotated[
        tuple[str, ...],
        doc(
            "Key server: a node, kmip://HOST:PORT, or NAME=ADDRESS; can be repeated.",
            name="--server",
        ),
    ]
    default: Default = False
    entry: Entry = Entry()
    keys: ProviderKeys = ProviderKeys()

    def __post_init__(self) -> None:
        if not self.provider:
            raise wrong("the name of the key provider is empty")
        check_names(names.PROVIDER, self.provider)
        for server in self.servers:
            name, address = split_server(server)
            check_names(names.PROVIDER, name)
            if not address.startswith(KMIP):
                check_names(names.NODE, address.removeprefix(BUS))
        if not all(self.servers) or not self.servers:
            raise wrong(f"provider {self.provider}: name its key servers with --server")

    def files_read(self) -> tuple[str, ...]:
        return (self.entry.password_file,)


class ProviderSet(Command["Provider"], frozen=True, tag="provider.set"):
    """Change the entries of ``servers`` of a standard provider; empty: of all its servers. Or
    change what its new keys are [KEY-07].

    KS-USE-002 for a provider or a server that vCenter does not have.
    """

    provider: str
    servers: tuple[str, ...] = ()
    entry: Entry = Entry()
    keys: ProviderKeys = ProviderKeys()

    def __post_init__(self) -> None:
        if self.entry == Entry() and self.keys == ProviderKeys():
            raise wrong(
                "nothing to change: give a time-out, a user name with a password, or a key type"
            )

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
    """Create a native key provider: hosts derive its keys [NKP-01].

    keystead provider create nkp
    keystead provider create nkp --tpm-required --default

    Export the provider before its first use: until then it is not active [NKP-05].
    """

    table = NATIVE
    provider: str
    key_id: Annotated[str, doc("A UUID. Default: a new one.")] = ""
    tpm_required: Annotated[bool, doc("Use the provider only on hosts with a TPM [NKP-12].")] = (
        False
    )
    default: Default = False

    def __post_init__(self) -> None:
        if not self.provider:
            raise wrong("the name of the key provider is empty")
        check_names(names.PROVIDER, self.provider)


class ProviderUpdate(Command["Provider"], frozen=True, tag="provider.update"):
    """Change the id of a native provider's key derivation key. Export the provider afterwards.

    keystead provider update nkp
    keystead provider update nkp --key-id 6b29fc40-ca47-1067-b31d-00dd010662da

    The change makes earlier backups out of date [NKP-01, NKP-05].
    """

    table = NATIVE
    provider: str
    key_id: Annotated[str, doc("A UUID. Default: a new one.")] = ""


class ProviderExport(Command["ProviderBackup"], frozen=True, tag="provider.export"):
    """Export a native provider to a PKCS#12 file. Keep the file: only it restores the provider.

    keystead provider export nkp nkp.p12 --password-file secret.txt
    keystead provider export nkp nkp.p12

    Without a password the file has the key derivation key in clear text [NKP-03]. An existing file
    is not overwritten: KS-USE-003.
    """

    provider: str
    file: FilePath
    password_file: Annotated[
        FilePath, doc("File whose first line is the password of the backup.")
    ] = ""

    def __post_init__(self) -> None:
        absolute(self.file, self.password_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.password_file,)

    def file_written(self) -> str:
        return self.file


class ProviderImport(Command["ProviderBackup"], frozen=True, tag="provider.import"):
    """Import a native provider from a backup: a deleted one, or one of another vCenter.

    keystead provider import nkp.p12 --password-file secret.txt --default
    keystead provider import nkp.p12 --dry-run

    Rules [NKP-04] and [LOCK-06].
    """

    file: FilePath
    password_file: Annotated[
        FilePath, doc("File whose first line is the password of the backup.")
    ] = ""
    default: Default = False
    dry_run: Annotated[bool, doc("Show the content and change nothing.")] = False

    def __post_init__(self) -> None:
        absolute(self.file, self.password_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.file, self.password_file)


class ProviderDefault(Command["Provider"], frozen=True, tag="provider.default"):
    """Set vCenter's default key provider, for new keys [STD-02].

    keystead provider default kms-provider
    keystead provider default second -o json
    """

    provider: str


class ProviderDelete(Command["Fault"], frozen=True, tag="provider.delete"):
    """Delete a key provider, even one in use; `keystead get faults` shows the cure.

    keystead provider delete kms-provider
    keystead provider delete second -o json

    Rule [DEL-01].
    """

    provider: str
