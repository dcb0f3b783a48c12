"""What vCenter serves: to vSphere clients (through the control plane) and to its hosts.

- ``inventory``  vCenter's inventory of hosts and clusters, the notification that a host has
  changed, what vSphere HA reports, the event log, recent tasks (vim25 TaskInfo), and roles (vim25
  AuthorizationManager)
- ``vms``        VMs of vCenter's inventory
- ``providers``  key providers
- ``trust``      Trust Authority, its administration at both vCenters
- ``vsan``       vSAN encryption, imported from its own module
"""

from __future__ import annotations

from protocol.messages.vcenter import inventory, providers, trust, vms

__all__ = ["inventory", "providers", "trust", "vms"]
