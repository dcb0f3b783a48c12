"""Commands for key servers, their keys, and the trust between them and vCenter.

Map:

- ``custody``      what seals the keys of key servers, as their administrator has it changed
- ``entries``      the entries of a provider's servers
- ``keys``         keys at their key servers, as the operator of these, and key providers of vCenter
- ``kmip_trust``   trust between a vCenter and KMIP servers, as administrators of both
- ``replication``  how a key server stands with those that it replicates with, as people are told
"""
