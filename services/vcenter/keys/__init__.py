"""Keys as vCenter knows them: who uses them, who was given them, and their status.

Map:

- ``grants``     which cluster was given which key, for which virtual machine (C28)
- ``integrity``  the integrity check at each start of vCenter
- ``status``     QueryCryptoKeyStatus (STD-20)
- ``users``      who uses a key
- ``watch``      keys in use that their key server does not give any more
- ``wrapped``    what rows of the inventory have wrapped in them, under vCenter's own key
                 (``symkey``)
"""
