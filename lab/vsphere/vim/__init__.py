"""Managed objects of vim25: one class per managed type, properties computed when they are read.

===================  =====================================================================
``managed``          what every managed object is: properties by path, operations by name
``places``           folders, data center, clusters, resource pools, datastores, network
``virtual_machine``  ``VirtualMachine``
``vm_copies``        clones, templates and snapshots of VMs
``vm_folder``        where VMs are created and registered
``host``             ``HostSystem``
``esxcli``           the commands of esxcli as data, and how one is carried out
``reflect``          their types, which clients learn at run time, and the method executer
``esxi``             the inventory of a host that answers for itself
``managers``         ``ServiceInstance``, sessions, options, searches, alarms
``authorization``    ``AuthorizationManager``: roles, and who has them
``crypto``           ``CryptoManagerKmip``
``key_types``        types of keys of 9.0: wrapped keys
``kmip_trust``       its operations of trust between vCenter and key servers
``history``          tasks and events, and collectors of both
``views``            container and list views
``alarms``           alarms that are on, and their definitions
``collector``        ``PropertyCollector``: selection, filters, updates
``evaluation``       what filters select at one moment, and what has changed since another
===================  =====================================================================
"""
