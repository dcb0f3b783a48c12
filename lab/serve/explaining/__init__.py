"""Why an object is as it is: what was observed, the reasons, and their cures.

Map:

- ``describe``  ``describe``
- ``facts``     what was observed of a VM, its host and its keys
- ``reasons``   why a VM or a host has its state, and why a host lacks a key
"""
