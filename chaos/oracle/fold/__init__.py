"""The facts of a run, folded from its history.

- ``fold``          takes the records, and has the facts after each
- ``operations``    effects of operations on VMs and hosts
- ``placements``    where DRS must, may or must not start VMs
- ``providers``     administration of key providers and of vCenter
- ``upkeep``        administration of keys, disks, hosts and the Trust Authority
- ``availability``  VMs that vSphere HA must have restarted
- ``answers``       the states of hosts and VMs that the facts allow
- ``known``         true, false, or open
- ``disturbances``  faults: starting, active, ending
- ``listings``      the providers that vCenter lists, and the KDKs of native ones
- ``realms``        the hosts, listings and ways of each vCenter
- ``ways``          from a key server over vCenter to a host
- ``hosts``         where a host may have which key  · ``vms`` commands to a VM, and observations
- ``trust``         a trusted host's attestation and services
- ``derivation``    whether a host can derive the keys of a native provider
- ``possible``      the possible outcomes of a question with open facts
- ``settings``      times that follow from the lab's knobs
"""
