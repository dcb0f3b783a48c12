"""Trust between a vCenter and KMIP servers: ``kms trust`` and so on, ``provider trust``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, is_document, plain, say, show
from lab.schema.commands import (
    KmsIdentities,
    KmsRenewCertificate,
    KmsRevoke,
    KmsScope,
    KmsTrust,
    ProviderRenewCertificate,
    ProviderSigningRequest,
    ProviderTrust,
    ProviderTrustServers,
    ProviderUploadCertificate,
)

if TYPE_CHECKING:
    from lab.schema.answers.kmip_trust import KmsIdentityList, ProviderTrustList

CertificateFile = Annotated[Path | None, Parameter(help="PEM: a certificate.")]


def _until(row: Any) -> str:
    return "" if row.end is None else datetime.fromtimestamp(row.end, UTC).strftime("%Y-%m-%d")


def _digest(shown: Any) -> str:
    """Enough of that of a public key to know it by, at both ends."""
    digest: str = shown.digest[:16]
    return digest


def identities(kms: str, *, options: Options = DEFAULTS) -> None:
    """Who may come through a key server's door of KMIP.

    keystead kms identities kms-1
    keystead kms identities kms-1 -o json
    """
    _identities(call(options, KmsIdentities(kms)), options)


def trust(
    kms: str,
    *,
    provider: Annotated[str, Parameter(help="What vCenter shows for this provider.")] = "",
    node: Annotated[
        str, Parameter(help="What this host of vSAN, or Key Provider Service, shows.")
    ] = "",
    certificate: CertificateFile = None,
    role: Annotated[
        str,
        Parameter(help="client, operator, owner, kps or vsan. Left out: a node's own, or client."),
    ] = "",
    scope: Annotated[str, Parameter(help="Whose keys it shares; left out: as before.")] = "",
    renew: Annotated[
        bool, Parameter(negative="", help="The node shows another certificate from now on.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Have a key server take a client's certificate from now on.

    keystead kms trust kms-1 --provider kms-provider
    keystead kms trust kms-1 --node esxi-001 --renew
    keystead kms trust kms-1 --certificate app.pem --role owner --scope apps
    """
    command = KmsTrust(kms, provider, _der(certificate), role, scope, node, renew)
    _identities(call(options, command), options)


def revoke(kms: str, client: str, *, options: Options = DEFAULTS) -> None:
    """Have a key server refuse a client from now on.

    keystead kms revoke kms-1 vcenter
    keystead kms revoke kms-1 3f0a9c -o json
    """
    _identities(call(options, KmsRevoke(kms, client)), options)


def scope(
    kms: str,
    client: str,
    scope: Annotated[str, Parameter(help="Whose keys it shares; left out: as before.")] = "",
    *,
    role: Annotated[str, Parameter(help="client, operator, owner, kps or vsan.")] = "",
    options: Options = DEFAULTS,
) -> None:
    """Have a client of a key server share the keys of another scope, or have another role.

    keystead kms scope kms-1 vcenter apps
    keystead kms scope kms-1 3f0a9c --role operator
    """
    _identities(call(options, KmsScope(kms, client, scope, role)), options)


def renew_server(kms: str, *, options: Options = DEFAULTS) -> None:
    """Have a key server show another certificate: vCenter refuses it until it trusts that one.

    keystead kms renew-certificate kms-1
    keystead kms renew-certificate kms-1 -o json
    """
    _identities(call(options, KmsRenewCertificate(kms)), options)


def show_provider_trust(provider: str, *, options: Options = DEFAULTS) -> None:
    """Whether vCenter trusts the KMIP servers of a provider, and they vCenter.

    keystead provider trust kms-provider
    keystead provider trust kms-provider -o json
    """
    _trust(call(options, ProviderTrust(provider)), options)


def trust_servers(
    provider: str, *, certificate: CertificateFile = None, options: Options = DEFAULTS
) -> None:
    """Have vCenter trust what the KMIP servers of a provider show now.

    keystead provider trust-servers kms-provider
    keystead provider trust-servers kms-provider --certificate ca.pem
    """
    _trust(call(options, ProviderTrustServers(provider, _der(certificate))), options)


def renew_client(provider: str, *, options: Options = DEFAULTS) -> None:
    """Have vCenter show another certificate: the servers refuse it until they trust that one.

    keystead provider renew-certificate kms-provider
    keystead provider renew-certificate kms-provider -o json
    """
    _trust(call(options, ProviderRenewCertificate(provider)), options)


def signing_request(
    provider: str,
    *,
    new: Annotated[
        bool, Parameter(negative="", help="Of another key, which takes the earlier one's place.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Print the request for vCenter's certificate, for the owner of the key servers to sign.

    keystead provider signing-request outside --new
    keystead provider signing-request outside -o json
    """
    answer = call(options, ProviderSigningRequest(provider, new))
    if is_document(options.output):
        document(answer, options.output)
    else:
        plain(answer.request.rstrip("\n"))


def upload_certificate(
    provider: str,
    *,
    certificate: Annotated[Path, Parameter(help="PEM: the certificate, then those above it.")],
    key: Annotated[
        Path | None, Parameter(help="PEM: its private key; without it, that of the request.")
    ] = None,
    options: Options = DEFAULTS,
) -> None:
    """Have vCenter show a certificate that was issued for its request, or one with its key.

    keystead provider upload-certificate outside --certificate signed.pem
    keystead provider upload-certificate outside --certificate client.pem --key client.key
    """
    from lab.kmip.certificates import certificates

    chain = certificates(certificate)
    key_file = "" if key is None else str(key.absolute())
    _trust(call(options, ProviderUploadCertificate(provider, chain, key_file)), options)


def _der(file: Path | None) -> bytes:
    if file is None:
        return b""
    from lab.kmip.certificates import certificates

    return certificates(file)[0]


def _identities(answer: KmsIdentityList, options: Options) -> None:
    columns = (
        field("client"),
        field("role"),
        field("scope"),
        field("revoked"),
        ("UNTIL", _until),
        ("DIGEST", _digest),
    )
    show(answer, options.output, columns, key="client")
    _own(options, answer.kms, answer)


def _trust(answer: ProviderTrustList, options: Options) -> None:
    columns = (
        field("server"),
        field("client_trust_server", "CLIENT TRUSTS SERVER"),
        field("server_trust_client", "SERVER TRUSTS CLIENT"),
        ("UNTIL", _until),
        ("DIGEST", _digest),
        field("reason"),
    )
    show(answer, options.output, columns, key="server")
    _own(options, "vCenter", answer)
    if answer.key_lost and options.output in (Format.TABLE, Format.WIDE):
        say("vCenter has lost its private key: keystead provider renew-certificate")


def _own(options: Options, who: str, answer: Any) -> None:
    if options.output in (Format.TABLE, Format.WIDE):
        say(f"{who} shows the key {_digest(answer)}, good until {_until(answer)}")
