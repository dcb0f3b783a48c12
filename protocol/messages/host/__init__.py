"""What an ESXi host serves: crypto manager, virtual machines, esxcli, and the guest's answers.

vCenter sends the commands inside a session that either side's boot ends; they are numbered,
and an old session or number is refused with ``NotConnected``. The local administrator (through
the lab's control plane) uses the same messages without a session.

- ``session``  commands in a session of vCenter, the host's view of itself, maintenance mode, the
  local console of a host (with the VMs that a compromised host lists, fault ``host.hostile``), and
  vSphere HA
- ``crypto``   the crypto manager of a host (mode, host key, key cache, key providers), its core
  dumps (DUMP-01 to DUMP-04), how vCenter attests it (ATT-09), and a trusted host
- ``vms``      virtual machines of a host and their guests
- ``vsan``     vSAN encryption, imported from its own module
"""

from __future__ import annotations

from protocol.messages.host import crypto, session, vms

__all__ = ["crypto", "session", "vms"]
