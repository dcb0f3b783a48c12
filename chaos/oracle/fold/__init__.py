"""The facts of a run, folded from its history.

- ``fold``          takes the records, and has the facts after each
- ``operations``    what operations on VMs and hosts lead to
- ``upkeep``        what administrators do with key providers, keys, disks, hosts, vCenters and the
  Trust Authority, and what it leads to
- ``answers``       what the facts of a run allow, as far as they are known
- ``known``         true, false, or open
- ``disturbances``  faults: starting, active, ending
- ``listings``      the providers that vCenter lists, and the KDKs of native ones
- ``ways``          whether vCenter could bring keys of a provider to a host
- ``vms``           what was wanted of a VM, and what was seen of it
- ``hosts``         what a run's history says of a host, and what the rules let it be
- ``settings``      times that follow from the lab's knobs
"""
