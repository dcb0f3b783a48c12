"""Commands that change VMs or move them into, out of and between inventories.

Map:

- ``copies``       clones, templates and snapshots, asked of vCenter as a vSphere client would
- ``membership``   what comes into inventories and leaves them, asked of vCenter as a vSphere client
                   would, or of a host as its administrator (``on_host``)
- ``mobility``     VMs that move between hosts, asked of vCenter as a vSphere client would
- ``vms``          VM tasks, asked of vCenter as a vSphere client would, or of the host
                   (``on_host``)
- ``whereabouts``  which vCenter a command about VMs goes to that names none
"""
