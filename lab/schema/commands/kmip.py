"""Trust between a vCenter and KMIP servers: each way by itself, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import FilePath, doc
from lab.schema.commands.base import Command, Look, absolute, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import KmsIdentityList, ProviderTrustList, SigningRequest

Certificate = Annotated[bytes, doc("PEM: a certificate.", reads="certificate")]
"""DER; a command line names a PEM file."""
ROLES = "client, operator, owner, kps or vsan."


class KmsIdentities(Look["KmsIdentityList"], frozen=True, tag="kms.identities"):
    """Who may come through a key server's door of KMIP, and what it shows.

    keystead kms identities kms-1
    keystead kms identities kms-1 -o json
    """

    kms: str


class KmsTrust(Command["KmsIdentityList"], frozen=True, tag="kms.trust"):
    """Have a key server take a client's certificate from now on.

    keystead kms trust kms-1 --provider kms-provider
    keystead kms trust kms-1 --node esxi-001 --renew
    keystead kms trust kms-1 --certificate app.pem --role owner --scope apps

    What is left out of ``role`` and ``scope`` stays as the server has it of that client. A new one
    gets the role of such a node, else client, and the scope of its vCenter or of its vSAN, else
    ``default`` [STD-04, STD-06].
    """

    kms: str
    provider: Annotated[str, doc("What vCenter shows for this provider.")] = ""
    certificate: Certificate = b""
    role: Annotated[str, doc(f"{ROLES} Left out: a node's own, or client.")] = ""
    scope: Annotated[str, doc("Whose keys it shares; left out: as before.")] = ""
    node: Annotated[str, doc("What this host of vSAN, or Key Provider Service, shows.")] = ""
    renew: Annotated[bool, doc("The node shows another certificate from now on.")] = False

    def __post_init__(self) -> None:
        if sum(map(bool, (self.provider, self.certificate, self.node))) != 1:
            raise wrong("whose certificate: name a provider, a node or a file, and one alone")
        check_names(names.SCOPE, self.scope)
        if self.renew and not self.node:
            raise wrong("a node renews its own: for a provider it is provider renew-certificate")


class KmsRevoke(Command["KmsIdentityList"], frozen=True, tag="kms.revoke"):
    """Have a key server refuse a client from now on.

    keystead kms revoke kms-1 vcenter
    keystead kms revoke kms-1 3f0a9c -o json
    """

    kms: str
    client: Annotated[str, doc("Its name; of several of that name, the beginning of its digest.")]

    def __post_init__(self) -> None:
        if not self.client:
            raise wrong("whose certificate: name a client, or the beginning of its digest")


class KmsScope(Command["KmsIdentityList"], frozen=True, tag="kms.scope"):
    """Have a client of a key server share the keys of another scope, or have another role.

    keystead kms scope kms-1 vcenter apps
    keystead kms scope kms-1 3f0a9c --role operator

    From its next message on.
    """

    kms: str
    client: Annotated[str, doc("Its name; of several of that name, the beginning of its digest.")]
    scope: Annotated[str, doc("Whose keys it shares; left out: as before.", word=True)] = ""
    role: Annotated[str, doc(ROLES)] = ""

    def __post_init__(self) -> None:
        if not self.scope and not self.role:
            raise wrong("where to: give a scope, a role, or both")
        check_names(names.SCOPE, self.scope)


class KmsRenewCertificate(Command["KmsIdentityList"], frozen=True, tag="kms.renew-certificate"):
    """Have a key server show another certificate: vCenter refuses it until it trusts that one.

    keystead kms renew-certificate kms-1
    keystead kms renew-certificate kms-1 -o json

    It is on another key [SC-06].
    """

    kms: str


class ProviderTrust(Look["ProviderTrustList"], frozen=True, tag="provider.trust"):
    """Whether vCenter trusts the KMIP servers of a provider, and they vCenter [STD-03].

    keystead provider trust kms-provider
    keystead provider trust kms-provider -o json
    """

    provider: str


class ProviderSigningRequest(
    Command["SigningRequest"], frozen=True, tag="provider.signing-request"
):
    """Print the request for vCenter's certificate, for the owner of the key servers to sign.

    keystead provider signing-request outside --new
    keystead provider signing-request outside -o json

    With ``new`` servers refuse vCenter until they trust what was issued for it [STD-04, SC-08].
    """

    provider: str
    new: Annotated[bool, doc("Of another key, which takes the earlier one's place.")] = False


class ProviderUploadCertificate(
    Command["ProviderTrustList"], frozen=True, tag="provider.upload-certificate"
):
    """Have vCenter show a certificate that was issued for its request, or one with its key.

    keystead provider upload-certificate outside --certificate signed.pem
    keystead provider upload-certificate outside --certificate client.pem --key client.key

    Rule [STD-04].
    """

    provider: str
    chain: Annotated[
        tuple[bytes, ...],
        doc(
            "PEM: the certificate, then those above it.",
            name="--certificate",
            reads="certificates",
        ),
    ]
    key_file: Annotated[
        FilePath, doc("PEM: its private key; without it, that of the request.", name="--key")
    ] = ""

    def __post_init__(self) -> None:
        if not self.chain:
            raise wrong("a certificate is wanted")
        absolute(self.key_file)

    def files_read(self) -> tuple[str, ...]:
        return (self.key_file,)


class ProviderTrustServers(Command["ProviderTrustList"], frozen=True, tag="provider.trust-servers"):
    """Have vCenter trust what the KMIP servers of a provider show now, those that answer.

    keystead provider trust-servers kms-provider
    keystead provider trust-servers kms-provider --certificate ca.pem
    """

    provider: str
    certificate: Certificate = b""


class ProviderRenewCertificate(
    Command["ProviderTrustList"], frozen=True, tag="provider.renew-certificate"
):
    """Have vCenter show another certificate: the servers refuse it until they trust that one.

    keystead provider renew-certificate kms-provider
    keystead provider renew-certificate kms-provider -o json

    vCenter has signed it itself [SC-08].
    """

    provider: str
