"""Managed objects of vim25: one class per managed type, properties computed when they are read.

- ``managed``          what every managed object is: properties by path, operations by name
- ``places``           folders, data center, clusters, resource pools, datastores, network
- ``virtual_machine``  ``VirtualMachine``
- ``vm_creation``      where VMs are created and registered; clones, templates and snapshots
- ``host``             ``HostSystem``
- ``esxcli``           the commands of esxcli as data, and how one is carried out
- ``reflect``          their types, which clients learn at run time, and the method executer
- ``esxi``             the inventory of a host that answers for itself
- ``managers``         ``ServiceInstance``, sessions, options, searches, alarms, roles
- ``crypto``           ``CryptoManagerKmip``, and the trust between vCenter and key servers
- ``history``          tasks and events, and collectors of both
- ``alarms``           alarms that are on, and their definitions
- ``collector``        ``PropertyCollector``: views, selection, filters, updates
"""
