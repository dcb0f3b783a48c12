"""KMIP without a lab.

- ``alone``        a key server in this process, over the real drivers of its ports, without a lab
  around it; what seals its keys is a passphrase in a file or a key file
- ``server``       a key server without a lab that speaks KMIP
- ``cases``        conversations in KMIP's XML, each played against a fresh key server, through
  bytes; each answer is compared with the one that the conversation expects
- ``replay``       vCenter's flow against any key server, step by step, and a verdict on it
- ``credentials``  how a key server without a lab is reached
- ``standalone``   connections of who is no node of a lab
- ``trails``       the audit trail of a server without a lab that does not run
"""
