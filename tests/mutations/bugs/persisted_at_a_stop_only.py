"""KP-02 broken: keys are persisted when the host is stopped, not before."""

from __future__ import annotations

from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

plant(Host, "key_sections", lambda original: lambda self: ConfigurationSection.NOTHING)
