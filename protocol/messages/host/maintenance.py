"""Maintenance mode of a host (HostSystem.runtime.inMaintenanceMode)."""

from __future__ import annotations

from protocol.messages.host.session import Command, Done


class HostEnterMaintenanceMode(Command[Done], frozen=True, kw_only=True):
    """From now on no VM is created, registered or started here; saved before the reply.

    ``InvalidState`` names the VMs that run here: power them off first.
    """


class HostExitMaintenanceMode(Command[Done], frozen=True, kw_only=True):
    """Leave maintenance mode; no VM is started because of it."""
