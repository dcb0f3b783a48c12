"""The Key Provider Service gives keys to whoever asks, token or none."""

from __future__ import annotations

from services.keyprovider import service
from tests.mutations.bugs.planting import plant

plant(service, "authorize", lambda original: lambda *args, **times: None)
