"""The APIs of vSphere in front of a lab, for clients of the real product (``docs/vsphere.md``).

A process of its own, never a part of a service (ADR 99). It gives typed commands to an
``Executor``, reads typed answers, and keeps sessions, views, filters and tasks only.

======================  ===========================================================================
``executor``            how commands reach a lab
``snapshot``            what the lab answered last, and when it has to be asked again
``soap``                vim25 over SOAP: envelopes to calls and back, on pyVmomi's type tables
``vijson``              the same by VI/JSON
``json_codec``          values of vim25 in JSON
``faults``              refusals of the lab as faults of the product
``managed``             what every managed object is: properties by path, operations by name
``objects``             ids and UUIDs, which follow from names
``request``             what an object is given with each call
``places``              folders, data center, clusters, resource pools, datastores, network
``inventory``           all of these by id and name, from one snapshot
``virtual_machine``     ``VirtualMachine``
``vm_copies``           clones, templates and snapshots of VMs
``vm_folder``           where VMs are created and registered
``host``                ``HostSystem``
``esxcli``              the commands of esxcli as data, and how one is carried out
``reflect``             their types, which clients learn at run time, and the method executer
``esxi``                the inventory of a host that answers for itself
``host_server``         the API of one host
``host_listening``      a listener for each host, open while it runs
``managers``            ``ServiceInstance``, sessions, options, searches, alarms
``authorization``       ``AuthorizationManager``: roles, and who has them
``crypto``              ``CryptoManagerKmip``
``kmip_trust``          its operations of trust between vCenter and key servers
``files``               files with secrets that a command names
``history``             tasks and events, and collectors of both
``views``               container and list views
``alarms``              alarms that are on, and their definitions
``bare``                objects of which a lab has nothing but the object
``collector``           ``PropertyCollector``: selection, filters, updates
``sessions``            who is logged in
``vapi``                what an operation of vAPI is, its shapes and errors
``vapi_inventory``      operations on VMs, hosts, clusters
``vapi_providers``      operations on native key providers, and on those of a host
``vapi_trust``          what can be read of a Trust Authority and of TPMs
``rest``                vAPI by REST, and its sessions
``json_rpc``            vAPI by JSON-RPC, for the Automation SDK
``service``             a call of a session, from its object to its result
``body``                the body of a request, bounded in size and time
``web``                 HTTP: routes, cookies, limits
``listening``           the listener, under TLS of a certificate authority of the lab
``single_write``        HTTP whose small answers leave in one write
======================  ===========================================================================

Nothing of a lab imports this package, and it needs the extra ``vsphere``.
"""
