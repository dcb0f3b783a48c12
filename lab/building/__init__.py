"""From an empty lab to a ready one, in an administrator's order.

- ``provision``  nodes, providers, clusters, hosts and VMs of a plan
- ``trust``      trust made ready
- ``course``     how far long work has come, and how long one waits for it
"""
