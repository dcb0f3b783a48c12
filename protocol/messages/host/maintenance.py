"""Maintenance mode of a host (HostSystem.runtime.inMaintenanceMode)."""

from __future__ import annotations

from protocol.messages.host.session import Command, Done


class HostEnterMaintenanceMode(Command[Done], frozen=True, kw_only=True):
    """From now on no VM is made, registered or started here; saved before the reply.

    ``InvalidState`` names the VMs that run here: they must be powered off first.
    """


class HostExitMaintenanceMode(Command[Done], frozen=True, kw_only=True):
    """VMs may come again; nothing is started because of it."""
