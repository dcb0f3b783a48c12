"""Trust between a vCenter and KMIP servers, in each direction: set up, renew, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.base import Command, FilePath, Look, absolute, check_names, doc, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import KmsIdentityList, ProviderTrustList, SigningRequest

Certificate = Annotated[bytes, doc("PEM: a certificate.", reads="certificate")]
"""DER; on the command line the path of a PEM file."""
ROLES = "client, operator, owner, kps or vsan."


class KmsIdentities(Look["KmsIdentityList"], frozen=True, tag="kms.identities"):
    """Show a key server's KMIP certificate and the client certificates that it accepts.

    keystead kms identities kms-1
    keystead kms identities kms-1 -o json
    """

    kms: str


class KmsTrust(Command["KmsIdentityList"], frozen=True, tag="kms.trust"):
    """Make a key server accept a client's certificate.

    keystead kms trust kms-1 --provider kms-provider
    keystead kms trust kms-1 --node esxi-001 --renew
    keystead kms trust kms-1 --certificate app.pem --role owner --scope apps

    Without ``role`` or ``scope`` a known client keeps what it has. A new client gets the role of
    its kind of node, else client, and the scope of its vCenter or vSAN cluster, else ``default``
    [STD-04, STD-06].
    """

    kms: str
    provider: Annotated[str, doc("Accept vCenter's certificate for this key provider.")] = ""
    certificate: Certificate = b""
    role: Annotated[str, doc(f"{ROLES} Default: the role of the node, else client.")] = ""
    scope: Annotated[str, doc("Scope whose keys the client shares. Default: unchanged.")] = ""
    node: Annotated[
        str, doc("Accept the certificate of this vSAN host or Key Provider Service.")
    ] = ""
    renew: Annotated[bool, doc("First give the node a new certificate.")] = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.provider, self.certificate, self.node))) != 1:
            raise wrong("name exactly one: a provider, a node or a certificate file")
        check_names(names.SCOPE, self.scope)
        if self.renew and not self.node:
            raise wrong("--renew needs --node; for a provider use `provider renew-certificate`")


class KmsRevoke(Command["KmsIdentityList"], frozen=True, tag="kms.revoke"):
    """Make a key server refuse a client.

    keystead kms revoke kms-1 vcenter
    keystead kms revoke kms-1 3f0a9c -o json
    """

    kms: str
    client: Annotated[
        str, doc("Name of the client, or the beginning of its digest if the name is ambiguous.")
    ]

    def __post_init__(self) -> None:
        if not self.client:
            raise wrong("name a client, or give the beginning of its digest")


class KmsScope(Command["KmsIdentityList"], frozen=True, tag="kms.scope"):
    """Change the scope or the role of a client of a key server.

    keystead kms scope kms-1 vcenter apps
    keystead kms scope kms-1 3f0a9c --role operator

    The change applies from the client's next message on.
    """

    kms: str
    client: Annotated[
        str, doc("Name of the client, or the beginning of its digest if the name is ambiguous.")
    ]
    scope: Annotated[
        str, doc("Scope whose keys the client shares. Default: unchanged.", word=True)
    ] = ""
    role: Annotated[str, doc(ROLES)] = ""

    def __post_init__(self) -> None:
        if not self.scope and not self.role:
            raise wrong("give a scope, a role, or both")
        check_names(names.SCOPE, self.scope)


class KmsRenewCertificate(Command["KmsIdentityList"], frozen=True, tag="kms.renew-certificate"):
    """Renew a key server's certificate; vCenter refuses it until it trusts the new one.

    keystead kms renew-certificate kms-1
    keystead kms renew-certificate kms-1 -o json

    The new certificate has a new key [SC-06].
    """

    kms: str


class ProviderTrust(Look["ProviderTrustList"], frozen=True, tag="provider.trust"):
    """Show whether vCenter and the KMIP servers of a provider trust each other [STD-03].

    keystead provider trust kms-provider
    keystead provider trust kms-provider -o json
    """

    provider: str


class ProviderSigningRequest(
    Command["SigningRequest"], frozen=True, tag="provider.signing-request"
):
    """Print a certificate signing request for vCenter, for the key servers' owner to sign.

    keystead provider signing-request outside --new
    keystead provider signing-request outside -o json

    With ``new`` the servers refuse vCenter until they trust the certificate that is issued for the
    request [STD-04, SC-08].
    """

    provider: str
    new: Annotated[bool, doc("Create a new key, which replaces the present one.")] = False


class ProviderUploadCertificate(
    Command["ProviderTrustList"], frozen=True, tag="provider.upload-certificate"
):
    """Set vCenter's client certificate: issued for its signing request, or with a private key.

    keystead provider upload-certificate outside --certificate signed.pem
    keystead provider upload-certificate outside --certificate client.pem --key client.key

    Rule [STD-04].
    """

    provider: str
    chain: Annotated[
        tuple[bytes, ...],
        doc(
            "PEM: the certificate, then its chain.",
            name="--certificate",
            reads="certificates",
        ),
    ]
    key_file: Annotated[
        FilePath, doc("PEM: its private key. Default: the key of the request.", name="--key")
    ] = ""

    def __post_init__(self) -> None:
        if not self.chain:
            raise wrong("give a certificate with --certificate")
        absolute(self.key_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.key_file,)


class ProviderTrustServers(Command["ProviderTrustList"], frozen=True, tag="provider.trust-servers"):
    """Make vCenter trust the present certificates of a provider's KMIP servers.

    keystead provider trust-servers kms-provider
    keystead provider trust-servers kms-provider --certificate ca.pem

    Servers that do not answer are skipped. With ``certificate`` vCenter trusts that certificate.
    """

    provider: str
    certificate: Certificate = b""


class ProviderRenewCertificate(
    Command["ProviderTrustList"], frozen=True, tag="provider.renew-certificate"
):
    """Renew vCenter's client certificate; the servers refuse it until they trust the new one.

    keystead provider renew-certificate kms-provider
    keystead provider renew-certificate kms-provider -o json

    The new certificate is self-signed [SC-08].
    """

    provider: str
