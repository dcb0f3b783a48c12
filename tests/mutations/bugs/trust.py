"""Bugs of Trust Authority: attestation, tokens and trusted key providers."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from protocol.crypto.tokens import AUDIENCE, AttestationClaims, verify_token
from protocol.errors import KeyProviderUnreachable
from protocol.terms import KmipState, NodeName
from protocol.trust import TokenType
from services.attestation import configuration, identities, policy
from services.esxi import host as esxi_host
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted import attestation, keys
from services.esxi.providers.trusted.attestation_state import TrustState
from services.keyprovider import access, service
from services.keyprovider.primary_key import PrimaryKeys
from services.vcenter.trust import authority, clusters
from services.vcenter.trust.authority import Authority
from services.vcenter.trust.clusters import TrustWatch
from services.vcenter.trust.judgement import view_of
from tests.mutations.bugs.planting import plant, replaces


def event_bodies_believed() -> None:
    """ATT-02 broken: digests of an event log are replayed, and what its bodies tell is believed."""

    plant(policy, "body_mismatches", lambda original: lambda events: ())


def event_log_not_replayed() -> None:
    """ATT-02 broken: an event log is believed, whatever the TPM has quoted."""

    plant(policy, "_off", lambda original: lambda events, quoted: [])


def first_issuers_for_ever() -> None:
    """SC-30 broken: the certificates that were recorded first count for ever."""

    async def _content(self: Any, row: Any, told: Any) -> None:
        """Nothing is recorded anew."""

    plant(Authority, "_accept", lambda original: _content)


def foreign_group_accepted() -> None:
    """TA-08 broken: a Key Provider Service takes tokens of its issuers whatever their group is."""

    @replaces(service, "authorize")
    def authorize(original: Any, token: bytes, host: Any, configuration: Any, **times: Any) -> Any:
        issuers = configuration.attestation_services
        try:
            claims = verify_token(token, [i.certificate for i in issuers], AttestationClaims)
        except ValueError:
            return original(token, host, configuration, **times)
        same = tuple(msgspec.structs.replace(i, group=claims.group) for i in issuers)
        believed = msgspec.structs.replace(
            configuration, group=claims.group, attestation_services=same
        )
        return original(token, host, believed, **times)


def image_not_compared() -> None:
    """ATT-07 broken: an Attestation Service does not compare what was booted with imported
    images."""

    plant(policy, "image_of", lambda original: lambda events, images: "any image")


def lent_tpm_attested() -> None:
    """ATT-02 broken: nobody remembers in which host a TPM is."""

    @replaces(configuration, "update_counters")
    def counted(original: Any, known: Any, quoted: Any, host: Any) -> Any:
        return original(known and replace(known, host=NodeName("")), quoted, host)


def lost_change_kept() -> None:
    """HLT-01 broken: a service has what it is to have when the number of the change is right."""

    def _by_number(original: Any) -> Any:
        return lambda node, row, revision, items: revision == str(row.revision)

    plant(authority, "_has", _by_number)


def new_host_configured_at_once() -> None:
    """HLT-03 broken: vCenter configures a host that comes into a trusted cluster, and asks
    nobody."""

    @replaces(clusters, "is_behind")
    def is_behind(original: Any, desired: Any, summary: Any) -> bool:
        applied = view_of(summary)
        return (desired is not None and applied is None) or original(desired, summary)


def overflow_not_looked_for() -> None:
    """ATT-10 broken: neither a host nor an Attestation Service looks whether an event log is
    whole."""

    for module in (policy, esxi_host):
        plant(module, "LOG_LIMIT", lambda original: 1 << 30)


def primary_key_kept() -> None:
    """KPS-03 broken: a primary key that was fetched once is kept, whatever the knob says."""

    @replaces(PrimaryKeys, "key")
    async def key(original: Any, self: Any, provider: Any, key_id: Any, usable: Any) -> Any:
        found = await original(self, provider, key_id, usable)
        self._kept[provider.provider, key_id] = found, KmipState.ACTIVE
        return found


def refused_host_powers_on() -> None:
    """ATT-06 broken: a host that is refused powers on what it has the keys of."""

    plant(attestation, "is_allowed", lambda original: lambda overrides, outcome: True)


def refused_token_kept() -> None:
    """ATT-04 broken: a host that is refused keeps the token that it had."""

    @replaces(attestation, "_attest_in")
    async def attest_in(original: Any, host: Any, group: str) -> Any:
        before = dict(host.trust.tokens)
        outcome = await original(host, group)
        host.trust.tokens = {**before, **host.trust.tokens}
        return outcome


def reporting_token_authorizes() -> None:
    """ATT-03 broken: a document that only reports lets a host have keys."""

    @replaces(access, "_verify_issuer")
    def _signed(original: Any, token: bytes, accepted: Any) -> Any:
        claims = original(token, accepted)
        return msgspec.structs.replace(claims, aud=AUDIENCE, typ=TokenType.KMS_AUTH_JWT)


def reset_counter_forgotten() -> None:
    """ATT-02 broken: what was seen of a TPM's counters is not kept."""

    def _of_nothing_known(original: Any) -> Any:
        return lambda known, quoted, host: original(None, quoted, host)

    plant(configuration, "update_counters", _of_nothing_known)


def secure_boot_anywhere() -> None:
    """ATT-02 broken: Secure Boot is what any event of the log says, in whatever register it is."""

    _ON = "SecureBoot".encode("utf-16-le") + b"\x01"

    def _of_any_event(original: Any) -> Any:
        return lambda events: any(event.body.endswith(_ON) for event in events)

    plant(policy, "secure_boot_on", _of_any_event)


def silence_blocks_keys() -> None:
    """C6 broken: a host that reaches no Attestation Service may not use the keys that it has."""

    plant(
        attestation,
        "is_allowed",
        lambda original: lambda overrides, outcome: original("never", outcome),
    )


def token_not_checked() -> None:
    """The Key Provider Service gives keys to whoever asks, token or none."""

    plant(service, "authorize", lambda original: lambda *args, **times: None)


def token_survives_reboot() -> None:
    """B7 broken: a host's tokens outlive its reboot."""

    _lives: dict[str, Any] = {}  # by host: the one that began last

    @replaces(EsxiHost, "__init__")
    def __init__(original: Any, self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        before = _lives.get(node.name)
        if before is not None:
            self.trust.tokens = dict(before.trust.tokens)
        _lives[node.name] = self


def tokens_never_end() -> None:
    """ATT-04 broken: a token has no end, neither for who issued it nor for the host that has it."""

    from services.attestation import service

    _FOREVER_S = 1e9

    @replaces(service, "issue")
    def issue(original: Any, *facts: Any, until: float, **more: Any) -> Any:
        return original(*facts, until=until + _FOREVER_S, **more)

    def _kept(self: TrustState, group: str, now: float) -> Any:
        return self.tokens.get(group)

    plant(TrustState, "find_token", lambda original: _kept)


def trust_services_unasked() -> None:
    """HLT-06 broken: no host is asked whether a trusted provider serves it; what hosts tell of
    their own attestation is all that vCenter knows."""

    @replaces(TrustWatch, "_ask")
    async def ask(original: Any, self: TrustWatch) -> list[Any]:
        return []


def trusted_keys_pushed() -> None:
    """KPS-02 broken: a key that a Key Provider Service gave one host is brought to all hosts."""

    _hosts: dict[str, Any] = {}

    @replaces(EsxiHost, "__init__")
    def __init__(original: Any, self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        _hosts[node.name] = self

    @replaces(keys, "keep_key")
    async def keep(original: Any, host: Any, entry: Any) -> None:
        await original(host, entry)
        for other in _hosts.values():
            other.keys.add(entry)


def trusted_keys_through_vcenter() -> None:
    """TA-06 broken: a host asks for keys only while its vCenter is connected, as if it brought
    them."""

    @replaces(keys, "_ask_services")
    async def from_any(original: Any, host: Any, ask: Any, provider: Any) -> Any:
        if not host.uplink.connected:
            raise KeyProviderUnreachable(f"{host.node.name} has no vCenter")
        return await original(host, ask, provider)


def unattested_starts() -> None:
    """ATT-06 broken: a trusted host starts VMs whose keys it has, attested or not."""

    plant(attestation, "is_allowed", lambda original: lambda overrides, outcome: True)


def unlisted_key_attested() -> None:
    """TA-07 broken: an Attestation Service trusts any endorsement key, whatever its list says."""

    plant(identities, "findings", lambda original: lambda *args: [])


def voucher_unread() -> None:
    """ATT-01 broken: an Attestation Service attests hosts for which no imported principal
    vouches."""

    plant(policy, "voucher_findings", lambda original: lambda evidence, principals: [])
