"""Commands for key servers, their keys, and the trust between them and vCenter.

Map:

- ``keys``        keys at their key servers, for the operator of these, what seals them, and key
  providers of vCenter
- ``kmip_trust``  trust between a vCenter and KMIP servers, as administrators of both
"""
