"""Why an object is as it is: what was observed, the reasons, and their cures.

Map:

- ``describe``      ``describe``
- ``facts``         what was observed of a VM, its host and its keys
- ``missing_keys``  why a host lacks a key, and who could bring it
- ``observed``      what is asked of vCenter, a host and key servers before anybody says why
                    (``reasons``)
- ``reasons``       why a VM or a host is as it is
"""
