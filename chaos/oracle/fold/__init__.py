"""The facts of a run, folded from its history.

- ``fold``          takes the records: what is known after each
- ``operations``    what operations on VMs and hosts lead to
- ``placements``    where DRS starts VMs, and where it must not
- ``providers``     what administrators do with key providers and with vCenter
- ``upkeep``        what they do with keys, disks, hosts and the Trust Authority
- ``availability``  which VMs others must have restarted
- ``answers``       what hosts and VMs may be by that
- ``known``         so, not so, or open
- ``disturbances``  faults: coming, on, ending
- ``listings``      what vCenter lists of its providers, and which KDK a native one has
- ``realms``        what each vCenter leads: hosts, listings and ways of its own
- ``ways``          from a key server over vCenter to a host
- ``hosts``         where a host may have which key  · ``vms`` what was wanted and seen of a VM
- ``trust``         what a trusted host has of its Trust Authority
- ``derivation``    whether a host can derive the keys of a native provider
- ``possible``      what can come of a question whose facts are open
- ``settings``      what the lab's knobs make of times
"""
