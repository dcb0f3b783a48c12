"""The releases of vSphere that nodes can run, and the features that came with each.

``FEATURES`` is the one table: hosts and vCenter ask it, and ``docs/versions.md`` is generated from
it. A host or vCenter older than a feature behaves as ``before`` says. Sources: the release's
documentation, API reference and event catalogue, as the rule cites them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from protocol.errors import InvalidArgument, NotAvailable


class Release(NamedTuple):
    """Major, minor and update number, ordered by appearance."""

    major: int
    minor: int
    update: int

    def __str__(self) -> str:
        update = f" U{self.update}" if self.update else ""
        return f"{self.major}.{self.minor}{update}"


RELEASES: Final = (
    Release(7, 0, 0),
    Release(7, 0, 1),
    Release(7, 0, 2),
    Release(7, 0, 3),
    Release(8, 0, 0),
    Release(8, 0, 1),
    Release(8, 0, 2),
    Release(8, 0, 3),
    Release(9, 0, 0),
)
"""The releases that a Lab file may name. Nothing emulated here changed with 8.0 U2."""

LATEST: Final = Release(8, 0, 3)
"""What a node runs when nothing else is said: the last release of 8.0."""
_WRITTEN: Final = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?: ?U([0-9]{1,3}))?")


def api_version(release: Release) -> str:
    """The version of the vSphere API of a release: ``8.0.3.0`` for 8.0 U3."""
    first_of_8 = release == Release(8, 0, 0)
    return f"{release.major}.{release.minor}.{release.update}.{1 if first_of_8 else 0}"


@cache
def release_of(text: str) -> Release:
    """The release written ``7.0``, ``7.0U2`` or ``7.0 U2``.

    ``InvalidArgument``, naming all releases, for any other text.
    """
    match = _WRITTEN.fullmatch(text)
    found = None if match is None else Release(int(match[1]), int(match[2]), int(match[3] or 0))
    if found not in RELEASES or found is None:
        known = ", ".join(map(format_release, RELEASES))
        raise InvalidArgument(f"{text!r} is not a known version: use one of {known}")
    return found


def format_release(release: Release) -> str:
    """The release as in a Lab file: ``7.0U2``."""
    return str(release).replace(" ", "")


class Feature(StrEnum):
    """A feature that not every release has."""

    TRUST_REMEDIATION = "trusted cluster remediation"
    CONFIGURATION_ENCRYPTION = "an encrypted configuration"
    KEY_PERSISTENCE = "key persistence"
    NATIVE_ON_HOST = "native key providers on a host"
    NATIVE_PROVIDER = "native key providers"
    TRUST_PROVIDER_EVENTS = "events about trusted providers"
    VSAN_PERSISTENCE = "key persistence for encrypted vSAN"
    STS_EVENT = "an event when the token service's certificate changes"
    VTPM_REPLACE = "a clone with a virtual TPM of its own"
    DEFAULT_PER_CLUSTER = "default key providers of clusters"
    NATIVE_GENERATE_KEY = "GenerateKey for native key providers"
    KEY_MANAGEMENT = "where a host's key is managed"
    CRYPTO_POLICY = "a host key that a cluster's policy names"
    KEY_REASONS = "the key status reason KeyStateManagedByNKP"
    WRAPPED_KEYS = "wrapped keys of a standard provider"


class DecidingSide(StrEnum):
    """Which node's release decides."""

    HOST = "host"
    VCENTER = "vCenter"


class Since(NamedTuple):
    """``release`` is the first with the feature; ``before``: how an older one behaves."""

    release: Release
    side: DecidingSide
    before: str
    rule: str


_U1, _U2, _U3 = RELEASES[1:4]
_8, _8_U1, _8_U3, _9 = RELEASES[4], RELEASES[5], *RELEASES[7:9]

FEATURES: Final[Mapping[Feature, Since]] = {
    Feature.TRUST_REMEDIATION: Since(
        _U1,
        DecidingSide.VCENTER,
        "It is refused (NotSupported): a trusted cluster is removed and made again.",
        "HLT-02",
    ),
    Feature.CONFIGURATION_ENCRYPTION: Since(
        _U2,
        DecidingSide.HOST,
        "esxcli has no namespace for it, nothing is sealed and there is no recovery key: no fault "
        "of a TPM, and no change of Secure Boot, stops a boot.",
        "CFG-01",
    ),
    Feature.KEY_PERSISTENCE: Since(
        _U2,
        DecidingSide.HOST,
        "esxcli has no namespace for it; a lab file with it is refused.",
        "KP-01",
    ),
    Feature.NATIVE_ON_HOST: Since(
        _U2,
        DecidingSide.HOST,
        "vCenter does not list native providers there; a VM of one is neither encrypted, nor "
        "started, nor moved there.",
        "NKP-02",
    ),
    Feature.NATIVE_PROVIDER: Since(
        _U2, DecidingSide.VCENTER, "Creation and import are refused (NotSupported).", "NKP-01"
    ),
    Feature.TRUST_PROVIDER_EVENTS: Since(
        _U2, DecidingSide.VCENTER, "It is shown as the provider's health only.", "HLT-06"
    ),
    Feature.VSAN_PERSISTENCE: Since(
        _U3, DecidingSide.HOST, "KEKs of vSAN are not persisted; those of VMs are.", "KP-08"
    ),
    Feature.STS_EVENT: Since(
        _8,
        DecidingSide.VCENTER,
        "The stale principal is shown, and no event tells of it.",
        "HLT-05",
    ),
    Feature.VTPM_REPLACE: Since(
        _8,
        DecidingSide.VCENTER,
        "A clone has the same virtual TPM; another one is refused (NotSupported).",
        "VTPM-07",
    ),
    Feature.DEFAULT_PER_CLUSTER: Since(
        _8_U1, DecidingSide.VCENTER, "It is refused (NotSupported): one default for all.", "STD-02"
    ),
    Feature.NATIVE_GENERATE_KEY: Since(
        _8_U1, DecidingSide.VCENTER, "It is refused (NotSupported), and no id is made.", "SC-40"
    ),
    Feature.KEY_MANAGEMENT: Since(
        _8_U1, DecidingSide.HOST, "The status of a key on the host does not say it.", "HEM-08"
    ),
    Feature.CRYPTO_POLICY: Since(
        _8_U3,
        DecidingSide.VCENTER,
        "It is refused (NotSupported): the default provider makes it.",
        "HEM-05",
    ),
    Feature.KEY_REASONS: Since(
        _8_U3,
        DecidingSide.VCENTER,
        "A key of a native provider that is there counts as available, without a reason.",
        "STD-20",
    ),
    Feature.WRAPPED_KEYS: Since(
        _9,
        DecidingSide.VCENTER,
        "They are refused (NotSupported), also in a lab file. The id of a wrapped key is that of "
        "no key: its VM is locked.",
        "KEY-07",
    ),
}
"""In the order of releases."""


def has(release: Release, feature: Feature) -> bool:
    """Whether a node of that release has the feature."""
    return release >= FEATURES[feature].release


def check(who: str, release: Release, feature: Feature) -> None:
    """``NotAvailable`` (NotSupported) when the release of ``who`` is too old for the feature."""
    since = FEATURES[feature]
    if release < since.release:
        raise NotAvailable(
            f"{feature}: not supported by {who}, which is {since.side} {release}; "
            f"it came with {since.release}"
        )
