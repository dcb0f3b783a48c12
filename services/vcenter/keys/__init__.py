"""Keys as vCenter knows them: their users, their grants, and their status.

- ``grants``     which cluster was given which key, for which virtual machine (C28)
- ``integrity``  the integrity check at each start of vCenter
- ``status``     QueryCryptoKeyStatus (STD-20)
- ``users``      the VMs and hosts that use a key
- ``watch``      keys in use that their key server does not give any more
- ``wrapped``    secrets in rows of the inventory, wrapped under vCenter's own key (``symkey``)
"""
