"""Keys at their key servers, as the operator of these, and key providers of vCenter.

``key`` is a key's id, or ``provider/id``; ``kms`` is the key server, empty: the one that has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from lab.schema.commands.base import Command, absolute, check_names, wrong
from protocol import names
from protocol.terms import RootKind

if TYPE_CHECKING:
    from lab.schema.answers import Fault, Key, KeyBackup, KeyServer, Provider, ProviderBackup

KMIP: Final = "kmip://"
"""With it an address of a key server begins."""
BUS: Final = "bus:"
"""The same of a node of the lab that is asked over the bus."""


class KmsKeyShow(Command["Key"], frozen=True, tag="kms.key.show"):
    """A key's KMIP attributes at its key server; KS-USE-002 when no server has it."""

    key: str
    kms: str = ""


class KmsKeyActivate(Command["Key"], frozen=True, tag="kms.key.activate"):
    """KMIP Activate: Pre-Active becomes Active."""

    key: str
    kms: str = ""


class _Grant(Command["Key"], frozen=True):
    """``key`` is its id; ``scope`` is another one than its own. ``kms``: one key server; empty: all
    of the lab that have the key."""

    key: str
    scope: str
    kms: str = ""

    def __post_init__(self) -> None:
        if not self.scope:
            raise wrong("to whom: give a scope; that of a vCenter is its name")
        check_names(names.SCOPE, self.scope)


class KmsKeyGrant(_Grant, frozen=True, tag="kms.key.grant"):
    """Let the clients of another scope get this key, and no other one of its scope. KS-USE-002 when
    no server has it."""


class KmsKeyUngrant(_Grant, frozen=True, tag="kms.key.ungrant"):
    """Let the clients of that scope get the key no more; those that have it keep it. KS-USE-002
    when no server has it."""


class KmsKeyRevoke(Command["Fault"], frozen=True, tag="kms.key.revoke"):
    """KMIP Revoke: Active becomes Deactivated, or Compromised when ``compromised`` [STD-19].

    KMIP knows no way back, so it is a fault, listed with its cure.
    """

    key: str
    compromised: bool = False


class KmsKeyDestroy(Command["Fault"], frozen=True, tag="kms.key.destroy"):
    """KMIP Destroy, after a revocation where one is needed: a fault, listed with its cure."""

    key: str


class _Backup(Command["KeyBackup"], frozen=True):
    """``backup`` is its name; ``kms`` are key servers, none: all of the lab."""

    backup: str
    kms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.backup:
            raise wrong("a backup has a name")
        check_names(names.BACKUP, self.backup)


class KmsBackup(_Backup, frozen=True, tag="kms.backup"):
    """Take a backup of key servers, as their administrator: they are stopped for it, and started.

    Of servers that replicate each other's keys all are copied. A backup of the same name is
    replaced.
    """


class KmsRestore(_Backup, frozen=True, tag="kms.restore"):
    """Stop key servers, put a backup back, and start them from it; their trails have it.

    Keys and states since the backup are lost. KS-USE-002 when there is no such backup.
    """


class KmsRotateKek(Command["KeyServer"], frozen=True, tag="kms.rotate_kek"):
    """Have a key server make another KEK, durably; keys come under it one after another."""

    kms: str


class KmsSetRoot(Command["KeyServer"], frozen=True, tag="kms.set_root"):
    """Have a key server's key ring sealed by another root; its keys are not touched.

    ``passphrase_file``: an absolute path; the first line of that file is the passphrase, which root
    ``passphrase`` needs and no other takes.
    """

    kms: str
    root: RootKind
    passphrase_file: str = ""

    def __post_init__(self) -> None:
        absolute(self.passphrase_file)
        if (self.root is RootKind.PASSPHRASE) is not bool(self.passphrase_file):
            raise wrong("a passphrase file goes with the root passphrase, and with no other")

    def files_read(self) -> tuple[str, ...]:
        return (self.passphrase_file,)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of the entry of a server [STD-01]; None and empty: nothing.

    ``timeout``: seconds, -1: those of the lab. ``user``: a user name, empty: none any more.
    ``password_file``: an absolute path; the first line of that file is the password of that user.
    """

    timeout: int | None = None
    user: str | None = None
    password_file: str = ""
    proxy: str = ""

    def __post_init__(self) -> None:
        absolute(self.password_file)
        if bool(self.user) is not bool(self.password_file):
            raise wrong("a user name goes with a password file, and neither without the other")


class ProviderAdd(Command["Provider"], frozen=True, tag="provider.add"):
    """Register a standard key provider of these ``servers``; ``default``: make it the default.
    ``entry``: of each of them.

    A server is a node of the lab, asked as the lab's file says, or an address ``kmip://HOST:PORT``
    of any server: trust with that one is to be made. ``bus:NODE`` is KS-USE-003 for a node that
    takes clients by KMIP alone. Under the name of one that was deleted it
    brings that one's keys back [LOCK-06].
    """

    provider: str
    servers: tuple[str, ...]
    default: bool = False
    entry: Entry = Entry()

    def __post_init__(self) -> None:
        if not self.provider:
            raise wrong("a key provider has a name")
        check_names(names.PROVIDER, self.provider)
        check_names(
            names.NODE, *(one.removeprefix(BUS) for one in self.servers if not one.startswith(KMIP))
        )
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


class ProviderCreate(Command["Provider"], frozen=True, tag="provider.create"):
    """Make a native key provider [NKP-01]; it must be exported once before it is used [NKP-05].

    ``key_id`` empty: a fresh UUID. ``tpm_required``: hosts without a TPM take no part [NKP-12].
    """

    provider: str
    key_id: str = ""
    tpm_required: bool = False
    default: bool = False

    def __post_init__(self) -> None:
        if not self.provider:
            raise wrong("a key provider has a name")
        check_names(names.PROVIDER, self.provider)


class ProviderUpdate(Command["Provider"], frozen=True, tag="provider.update"):
    """Give the key derivation key of a native provider another id [NKP-01]: its backup is out of
    date then, and a new one is advised [NKP-05]. ``key_id`` empty: a fresh UUID."""

    provider: str
    key_id: str = ""


class ProviderExport(Command["ProviderBackup"], frozen=True, tag="provider.export"):
    """Write the backup of a native provider, a PKCS#12 file [NKP-03]; it counts as backed up then.

    ``file`` and ``password_file`` are absolute paths. Without a password the file has the key
    derivation key in clear. A file that is there is not replaced: KS-USE-003.
    """

    provider: str
    file: str
    password_file: str = ""

    def __post_init__(self) -> None:
        absolute(self.file, self.password_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.password_file,)

    def file_written(self) -> str:
        return self.file


class ProviderImport(Command["ProviderBackup"], frozen=True, tag="provider.import"):
    """Make a native provider of a backup file [NKP-04], also of one that was deleted [LOCK-06].

    Paths as in ``ProviderExport``. ``dry_run``: say what is in it and change nothing.
    """

    file: str
    password_file: str = ""
    default: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        absolute(self.file, self.password_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.file, self.password_file)


class ProviderDefault(Command["Provider"], frozen=True, tag="provider.default"):
    """Make a key provider the default for new keys [STD-02]."""

    provider: str


class ProviderDelete(Command["Fault"], frozen=True, tag="provider.delete"):
    """Delete a key provider; use does not block it [DEL-01]. A fault, listed with its cure."""

    provider: str
