"""``trust ...``: a Trust Authority, step by step or all at once. ``get trust-authority``, ..."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.keys import KEY, PROVIDERS
from lab.cli.names import ServiceName
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import field, is_document, say, show, show_one
from lab.schema.commands import (
    Exported,
    GetTrustAuthority,
    GetTrustedHosts,
    KmsKeyCreate,
    TrustAdmin,
    TrustCluster,
    TrustEnable,
    TrustExport,
    TrustImport,
    TrustKeyProvider,
    TrustRegister,
    TrustRemediate,
    TrustRemove,
    TrustRenewCertificate,
    TrustRenewServices,
    TrustServers,
    TrustSettings,
    TrustSetup,
)
from protocol.authorization import ADMINISTRATOR
from protocol.trust import TrustAttestationStatus, TrustItem

if TYPE_CHECKING:
    from lab.schema.answers import TrustAuthority, TrustedHostList, TrustedHostState

ITEMS = (field("kind"), field("name"), field("health"), field("details"))


def _details(host: TrustedHostState) -> tuple[str, ...]:
    """What is wrong with its configuration; and, of one that nobody has attested, why not."""
    attested = host.attestation == TrustAttestationStatus.ATTESTED
    why = () if attested else (text for report in host.reports for text in report.messages)
    return (*host.details, *dict.fromkeys(why))


HOSTS = (
    field("host"),
    field("cluster"),
    ("APPLIED", lambda r: r.health),
    field("attestation"),
    ("DETAILS", _details),
)
FILE = (field("item"), field("of"), field("file"))
Flag = Annotated[bool, Parameter(negative="")]


def admin(
    member: str = ADMINISTRATOR, *, remove: Flag = False, options: Options = DEFAULTS
) -> None:
    """Step 1: a user into TrustedAdmins at both vCenters, or out of it.

    keystead trust admin
    keystead trust admin alice@vsphere.local --vcenter ta-vcenter
    """
    answer = call(options, TrustAdmin(member, remove))
    show(answer, options.output, (field("vcenter"), field("members")), key="vcenter")


def enable(*, options: Options = DEFAULTS) -> None:
    """Step 2: enable the Trust Authority state of the Trust Authority cluster.

    keystead trust enable
    keystead trust enable -o json
    """
    _items(call(options, TrustEnable()), options)


def export(
    item: Exported,
    file: Path,
    *,
    host: str = "",
    options: Options = DEFAULTS,
) -> None:
    """Steps 3, 4, 5, 11: export a principal, an endorsement key, a base image, ... to a file.

    keystead trust export principal principal.json
    keystead trust export endorsement-key esxi-001.json --host esxi-001
    """
    answer = call(options, TrustExport(item, str(file.absolute()), host))
    show_one(answer, options.output, FILE, key="file")


def import_(file: Path, *, options: Options = DEFAULTS) -> None:
    """Steps 6, 7, 8, 12: import what was exported, at the vCenter that it is for.

    keystead trust import principal.json
    keystead trust import services.json
    """
    answer = call(options, TrustImport(str(file.absolute())))
    show_one(answer, options.output, FILE, key="file")


def settings(
    *,
    require_endorsement_keys: bool,
    require_certificate_validation: bool,
    options: Options = DEFAULTS,
) -> None:
    """What an endorsement key has to be: in the list, or certified by an imported CA.

    keystead trust settings --require-endorsement-keys --no-require-certificate-validation
    keystead trust settings --no-require-endorsement-keys --require-certificate-validation
    """
    command = TrustSettings(require_endorsement_keys, require_certificate_validation)
    _items(call(options, command), options)


def key_provider(
    provider: str,
    primary_key: str,
    *,
    server: Annotated[
        tuple[str, ...], Parameter(name="--server", negative="", help="Key server; repeat it.")
    ],
    options: Options = DEFAULTS,
) -> None:
    """Step 9: create a trusted key provider under the id of a primary key.

    keystead trust key-provider trusted-provider 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --server kms
    keystead trust key-provider second 5f1c7e1e-8f0e-4d5e-9f43-0d5d3ad1c001 --server kms-1
    """
    _items(call(options, TrustKeyProvider(provider, primary_key, server)), options)


def key_servers(provider: str, *, options: Options = DEFAULTS) -> None:
    """Step 10: trust the certificates of the provider's key servers.

    keystead trust key-servers trusted-provider
    keystead trust key-servers trusted-provider -o json
    """
    _items(call(options, TrustServers(provider)), options)


def cluster(cluster: str, *, off: Flag = False, options: Options = DEFAULTS) -> None:
    """Step 12: enable the Trusted state of a cluster, or end it.

    keystead trust cluster cluster-a
    keystead trust cluster cluster-a --off
    """
    _hosts(call(options, TrustCluster(cluster, off)), options)


def register(provider: str, *, default: Flag = False, options: Options = DEFAULTS) -> None:
    """Step 13: register the trusted key provider at the workload vCenter.

    keystead trust register trusted-provider --default
    keystead trust register trusted-provider
    """
    answer = call(options, TrustRegister(provider, default))
    show_one(answer, options.output, PROVIDERS, key="provider")


def setup(*, options: Options = DEFAULTS) -> None:
    """All thirteen steps, as the lab file says. What is there already stays.

    keystead trust setup
    keystead trust setup -o json
    """
    _hosts(call(options, TrustSetup()), options)


def remove(kind: TrustItem, item: str, *, options: Options = DEFAULTS) -> None:
    """Take an item out of the Trust Authority.

    keystead trust remove base-image 8.0U3-24022510
    keystead trust remove endorsement-key esxi-001
    """
    _items(call(options, TrustRemove(kind, item)), options)


def remediate(cluster: str, *, delete: Flag = False, options: Options = DEFAULTS) -> None:
    """Apply on a cluster's hosts what is desired; --delete wipes what is applied.

    keystead trust remediate cluster-a
    keystead trust remediate cluster-a --delete
    """
    _hosts(call(options, TrustRemediate(cluster, delete)), options)


def renew_certificate(*, options: Options = DEFAULTS) -> None:
    """Renew the STS certificate of the workload vCenter.

    keystead trust renew-certificate
    keystead trust renew-certificate -o json
    """
    _hosts(call(options, TrustRenewCertificate()), options)


def renew_services(*services: ServiceName, options: Options = DEFAULTS) -> None:
    """Install services of the Trust Authority anew, so that they have other certificates.

    keystead trust renew-services attestation-1 keyprovider-1
    keystead trust renew-services attestation-2 -o json

    Trusted hosts refuse them until you export their services information, import it and remediate.
    """
    _items(call(options, TrustRenewServices(services)), options)


def get_authority(*, options: Options = DEFAULTS) -> None:
    """The items of a Trust Authority, compared over all its services.

    keystead get trust-authority
    keystead get trust-authority -o json
    """
    _items(call(options, GetTrustAuthority()), options)


def get_hosts(*, options: Options = DEFAULTS) -> None:
    """Trusted hosts: desired against applied, and their attestation.

    keystead get trusted-hosts
    keystead get trusted-hosts -o json
    """
    _hosts(call(options, GetTrustedHosts()), options)


def key_create(kms: str, *, options: Options = DEFAULTS) -> None:
    """Make a key at a key server, as its operator: for a primary key.

    keystead kms key create kms
    keystead kms key create kms -o json
    """
    show_one(call(options, KmsKeyCreate(kms)), options.output, KEY, key="key_id")


def _items(answer: TrustAuthority, options: Options) -> None:
    show(answer, options.output, ITEMS, key="name")
    if not is_document(options.output):
        for warning in answer.warnings:
            say(f"warning: {warning}")
        if answer.silent:
            say(f"warning: no answer from {', '.join(answer.silent)}; they get it when they do")


def _hosts(answer: TrustedHostList, options: Options) -> None:
    show(answer, options.output, HOSTS, key="host")
    if answer.stale_principal and not is_document(options.output):
        say("warning: the STS certificate was renewed: import its principal again, and remediate")
