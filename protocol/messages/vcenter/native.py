"""Native key providers: made, changed, exported, imported.

As the product's REST interface has it (vcenter/crypto-manager/kms/providers): an export answers
with a location and a token that is good for one download, and only the download that came to its
end counts as a backup. What is secret in these messages is sealed to a key that serves for one
exchange (``protocol.crypto.transfer``): vCenter's from ``OpenTransfer``, the client's own in
``recipient``.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.vcenter.providers import ProviderInfo, ProviderState
from protocol.terms import ProviderId


class OpenTransfer(Request["TransferOpened"], frozen=True, kw_only=True):
    """A key of vCenter to which the secrets of one request can be sealed."""


class TransferOpened(Reply, frozen=True, kw_only=True):
    """Name the transfer in the request. It ends with that request, and with vCenter's life."""

    transfer: str
    public_key: bytes


class CreateNativeProvider(Request[ProviderState], frozen=True, kw_only=True):
    """Make a native provider; the first provider becomes the default (NKP-01, STD-02).

    ``key_id`` (a UUID) and ``key_derivation_key`` (32 bytes, sealed) are drawn when they are not
    given. ``tpm_required``: hosts without a TPM take no part (NKP-12). ``AlreadyExists`` for a name
    that is taken. It must be backed up once before it is used (NKP-05).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    key_id: str = ""
    transfer: str = ""
    key_derivation_key: bytes = b""
    tpm_required: bool = False
    make_default: bool = False


class UpdateNativeProvider(Request[ProviderState], frozen=True, kw_only=True):
    """Give the KDK another id; a new backup is advised afterwards (NKP-01)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    key_id: str


class ExportProvider(Request["ExportLocation"], frozen=True, kw_only=True):
    """Prepare a backup (NKP-03). ``password`` is sealed; without one the file is in clear.

    ``authority``: by which name or address the client has reached vCenter, as it stands in the
    request; left out, by vCenter's name. ``InvalidArgument`` for another one than its name, and for
    a provider that is not native: what is exported is a KDK.
    """

    provider: ProviderId
    transfer: str = ""
    password: bytes = b""
    authority: str | msgspec.UnsetType = msgspec.UNSET


class ExportLocation(Reply, frozen=True, kw_only=True):
    """Where the backup is: ``token`` opens it once, before ``expiry`` (Unix s at vCenter)."""

    url: str
    token: str
    expiry: float


class DownloadExport(Request["ExportDownloaded"], frozen=True, kw_only=True):
    """The backup of a location, sealed to ``recipient``; the provider counts as backed up then.

    ``NoPermission`` for a token that is unknown, used or too old.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    token: str
    recipient: bytes


class ExportDownloaded(Reply, frozen=True, kw_only=True):
    """The PKCS#12 file, sealed."""

    config: bytes


class ImportProvider(Request["ProviderImported"], frozen=True, kw_only=True):
    """Make a provider of a backup (NKP-04); it counts as backed up.

    ``config`` and ``password`` are sealed. ``tpm_required``: None: as when it was exported.
    ``dry_run``: say what is in it and change nothing. ``AlreadyExists`` for a name that is taken,
    ``InvalidArgument`` for a wrong file or password.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    transfer: str
    config: bytes
    password: bytes = b""
    tpm_required: bool | None = None
    make_default: bool = False
    dry_run: bool = False


class ProviderImported(Reply, frozen=True, kw_only=True):
    """What the backup is of. ``state``: the provider that was made; None after a dry run."""

    provider: ProviderId
    key_id: str
    export_time: float
    tpm_required: bool
    state: ProviderInfo | None = None
