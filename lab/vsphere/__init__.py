"""The APIs of vSphere in front of a lab, for clients of the real product (``docs/vsphere.md``).

A process of its own, never a part of a service (ADR 99). It gives typed commands to an
``Executor``, reads typed answers, and keeps sessions, views, filters and tasks only.

==============  ======================================================================
``executor``    how commands reach a lab
``snapshot``    what the lab answered last, and when it has to be asked again
``soap``        vim25 over SOAP: envelopes to calls and back, and what each version of the API has
``vijson``      the same by VI/JSON
``json_codec``  values of vim25 in JSON
``faults``      refusals of the lab as faults of the product
``objects``     ids and UUIDs, which follow from names
``request``     what an object is given with each call
``inventory``   all of these by id and name, from one snapshot
``files``       files with secrets that a command names
``bare``        objects of which a lab has nothing but the object
``sessions``    who is logged in
``service``     a call of a session, from its object to its result
``vim``         managed objects: one class per managed type
``vapi``        the vSphere Automation API
``http``        HTTP under TLS: listeners, routes, bounds
==============  ======================================================================

Nothing of a lab imports this package, and it needs the extra ``vsphere``.
"""
