"""From an empty lab to a ready one, in an administrator's order.

- ``provision``  nodes, providers, clusters, hosts and VMs of a plan
- ``trust``      a Trust Authority made ready, step by step
- ``trusted_arrivals``  hosts that it comes to trust later, with their machines
- ``kmip_trust``  vCenter and KMIP servers that come to trust each other
- ``course``     how far long work has come, and how long one waits for it
"""
