"""Trust between a vCenter and KMIP servers: each way by itself, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, absolute, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import KmsIdentityList, ProviderTrustList, SigningRequest


class KmsIdentities(Command["KmsIdentityList"], frozen=True, tag="kms.identities"):
    """Who may come through a key server's door of KMIP, and what it shows; KS-USE-002 for a node
    that is no key server."""

    kms: str


class KmsTrust(Command["KmsIdentityList"], frozen=True, tag="kms.trust"):
    """Have a key server take the certificate that vCenter shows for a provider, that of a node that
    asks by itself, or that of a file (DER), in a role and a scope [STD-04, STD-06].

    ``node``: a host of vSAN, or a Key Provider Service; ``renew``: it shows another certificate
    from now on. What is empty of ``role`` and ``scope`` stays as the server has it of that client;
    one that is new gets the role of such a node, else client, and the scope of its vCenter or of
    its vSAN, else ``default``.
    """

    kms: str
    provider: str = ""
    certificate: bytes = b""
    role: str = ""
    scope: str = ""
    node: str = ""
    renew: bool = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.provider, self.certificate, self.node))) != 1:
            raise wrong("whose certificate: name a provider, a node or a file, and one alone")
        check_names(names.SCOPE, self.scope)
        if self.renew and not self.node:
            raise wrong("a node renews its own: for a provider it is provider renew-certificate")


class KmsRevoke(Command["KmsIdentityList"], frozen=True, tag="kms.revoke"):
    """Have a key server refuse a client from now on: by its name, or the beginning of its digest
    when several have that name. KS-USE-002 when there is none, or more than one."""

    kms: str
    client: str

    def __post_init__(self) -> None:
        if not self.client:
            raise wrong("whose certificate: name a client, or the beginning of its digest")


class KmsScope(Command["KmsIdentityList"], frozen=True, tag="kms.scope"):
    """Have a client share the keys of another scope, in another role, from its next message on.

    What is left empty stays. The client as in ``KmsRevoke``."""

    kms: str
    client: str
    scope: str = ""
    role: str = ""

    def __post_init__(self) -> None:
        if not self.scope and not self.role:
            raise wrong("where to: give a scope, a role, or both")
        check_names(names.SCOPE, self.scope)


class KmsRenewCertificate(Command["KmsIdentityList"], frozen=True, tag="kms.renew-certificate"):
    """Have a key server show another certificate, on another key: clients refuse it until they
    trust that one (SC-06)."""

    kms: str


class ProviderTrust(Command["ProviderTrustList"], frozen=True, tag="provider.trust"):
    """Whether vCenter trusts each KMIP server of a provider, and each of them vCenter [STD-03]."""

    provider: str


class ProviderSigningRequest(
    Command["SigningRequest"], frozen=True, tag="provider.signing-request"
):
    """The request for a certificate that the owner of key servers is to sign [STD-04]. ``new``: of
    another key, in the place of vCenter's earlier identity: servers refuse it until they are told
    (SC-08)."""

    provider: str
    new: bool = False


class ProviderUploadCertificate(
    Command["ProviderTrustList"], frozen=True, tag="provider.upload-certificate"
):
    """Have vCenter show a ``chain`` (DER, own certificate first) to the servers of a provider: one
    that was issued for its signing request, or one with its key in ``key_file``, an absolute path
    (PEM) [STD-04]."""

    provider: str
    chain: tuple[bytes, ...]
    key_file: str = ""

    def __post_init__(self) -> None:
        if not self.chain:
            raise wrong("a certificate is wanted")
        absolute(self.key_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.key_file,)


class ProviderTrustServers(Command["ProviderTrustList"], frozen=True, tag="provider.trust-servers"):
    """Have vCenter trust what the servers of a provider show now, those that answer, or a
    certificate (DER)."""

    provider: str
    certificate: bytes = b""


class ProviderRenewCertificate(
    Command["ProviderTrustList"], frozen=True, tag="provider.renew-certificate"
):
    """Have vCenter show another certificate to the servers of a provider, which it has signed
    itself: they refuse it until they trust that one (SC-08)."""

    provider: str
