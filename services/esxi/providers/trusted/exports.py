"""Exports of a trusted host, which an administrator takes to its Trust Authority."""

from __future__ import annotations

from protocol.errors import InvalidState, NotAvailable
from protocol.messages.host import BaseImageExported, TpmEndorsement
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import EkKind
from protocol.trust import BaseImage, ImageMeasurement
from services.esxi.host import EsxiHost
from services.esxi.measure import image_events


async def export_endorsement(host: EsxiHost) -> TpmEndorsement:
    """The endorsement key of this host's TPM, with its certificate if it has one."""
    if host.tpm is None:
        raise NotAvailable(f"{host.node.name} has no TPM")
    try:
        area, certificate = await host.tpm.ek(EkKind.ECC_P256)
        chain = await host.tpm.ek_chain()
    except TpmError as error:
        raise InvalidState(f"the TPM of {host.node.name} does not answer: {error}") from None
    return TpmEndorsement(public_area=area, certificate=certificate or b"", ca_chain=chain)


def export_base_image(host: EsxiHost) -> BaseImageExported:
    """The image of the build that this life booted, from its metadata: not what was measured."""
    version, build = host.config.version, host.build
    files = tuple(
        ImageMeasurement(event.pcr, event.body.decode(), event.digest)
        for event in image_events(version, build)
    )
    image = BaseImage(
        version=f"{version}-{build}",
        display_name=f"ESXi {version} build {build}",
        measurements=files,
    )
    return BaseImageExported(image=image)
