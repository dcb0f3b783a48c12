"""Commands that change VMs or move them into, out of and between inventories.

Map:

- ``vms``        VM tasks, sent to vCenter as a vSphere client would, or to the host (``on_host``)
- ``inventory``  what comes into inventories and leaves them, asked of vCenter as a vSphere client
  would, or of a host as its administrator (``on_host``)
"""
