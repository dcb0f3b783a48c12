"""Whether the Key Provider Services of a trusted host serve it now (HLT-06)."""

from __future__ import annotations

from protocol.errors import ProductError, Unauthenticated
from protocol.messages.host import TrustedServiceState
from protocol.messages.keyprovider import QueryTrustedKeyProviderHealth
from protocol.terms import ProviderId
from protocol.trust import ServiceRecord
from services.esxi.host import EsxiHost
from services.runtime.each import for_each


async def list_service_states(host: EsxiHost) -> tuple[TrustedServiceState, ...]:
    """The state of each service and provider of the applied configuration; all are asked at once. A
    service that refuses a missing token counts as reachable, and no more is known."""
    now = host.archive.now.trusted
    if now is None:
        return ()
    services = [
        (record, provider) for record in now.key_provider_services for provider in now.providers
    ]
    return tuple(
        await for_each(services, lambda one: _service_state(host, *one), name="trust.health")
    )


async def _service_state(
    host: EsxiHost, record: ServiceRecord, provider: ProviderId
) -> TrustedServiceState:
    held = host.trust.find_token(record.group, host.clock.monotonic())
    message = QueryTrustedKeyProviderHealth(
        provider=provider, token=b"" if held is None else held.token
    )
    within_s = host.node.knobs.trust_timeout_s
    try:
        found = await host.ports.bus.request(record.node, message, within_s=within_s)
    except Unauthenticated:
        return TrustedServiceState(service=record.node, provider=provider, answers=True)
    except ProductError as error:
        return TrustedServiceState(
            service=record.node, provider=provider, answers=False, reason=f"{record.node}: {error}"
        )
    reasons = [f"{one.node}: {one.reason}" for one in found.servers if one.reason]
    return TrustedServiceState(
        service=record.node,
        provider=provider,
        answers=True,
        health=found.health,
        reason="; ".join(reasons),
    )
