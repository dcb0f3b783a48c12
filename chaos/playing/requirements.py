"""``requires`` of an experiment against the lab it is to run on."""

from __future__ import annotations

from chaos.experiment.plan import Needs
from chaos.lab import LabUnderTest
from chaos.observe.look import LabLook, nodes_of
from chaos.providers import KIND_BY_WORD
from protocol.messages.agent import TpmBackend
from protocol.terms import Role

TPMS = {
    "real": (TpmBackend.LIBTPMS,),
    "model": (TpmBackend.MODEL,),
    "any": (TpmBackend.LIBTPMS, TpmBackend.MODEL),
    "none": (TpmBackend.NONE,),
}
SHOWN = 3


async def unmet(needs: Needs, lab: LabUnderTest) -> list[str]:
    """What ``requires`` asks for and this lab is not; empty when it fits."""
    look = LabLook(lab)
    hosts = nodes_of(lab, Role.ESXI)
    missing: list[str] = []
    if needs.hosts is not None and len(hosts) < needs.hosts:
        missing.append(f"{needs.hosts} hosts are required, {len(hosts)} are there")
    if needs.tpm is not None:
        status = await look.status()
        wanted = TPMS[needs.tpm]
        others = [h for h in hosts if h not in status or status[h].tpm not in wanted]
        missing += [f"tpm: {needs.tpm} is required, {h} has another" for h in others[:SHOWN]]
    if needs.persistence is not None:
        seen = await look.hosts()
        wrong = [h for h in hosts if h not in seen or seen[h].key_persistence != needs.persistence]
        word = "on" if needs.persistence else "off"
        missing += [f"persistence: {word} is required, {h} differs" for h in wrong[:SHOWN]]
    if needs.provider is not None:
        kind, providers = KIND_BY_WORD[needs.provider], await look.providers() or ()
        if not any(p.management_type is kind.management_type for p in providers):
            missing.append(f"a {needs.provider} key provider is required, vCenter has none")
    return missing
