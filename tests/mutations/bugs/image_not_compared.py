"""ATT-07 broken: an Attestation Service does not compare what was booted with imported images."""

from __future__ import annotations

from services.attestation import policy
from tests.mutations.bugs.planting import plant

plant(policy, "image_of", lambda original: lambda events, images: "any image")
