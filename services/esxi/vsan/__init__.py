"""Encrypted vSAN on a host: disk groups, the keys that open them, and the change of these.

- ``label``       how a disk looks: its label, and its blocks under a data encryption key, pure
- ``groups``      the disk groups of one life, and their files on the host's disk
- ``keys``        host key and KEK: persisted, derived, or asked of the key server directly
- ``key_servers``  these servers, as the host asks them: by bus or by KMIP
- ``mounting``    step B6, and trying again
- ``encryption``  preparing and applying a configuration: encrypt, rekey shallow and deep, decrypt
- ``components``  components of objects: made, moved, emptied, rebuilt
- ``objects``     what a guest writes and reads: stamps, majorities, catching up
- ``behind``      the objects whose components have yet to be brought together
- ``health``      what the host says of its keys and of its way to the key servers
- ``door``        the handlers of all these
"""
