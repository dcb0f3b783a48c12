"""Encrypted vSAN on a host: disk groups, the keys that open them, and changes of these keys.

- ``label``             the format of a disk: its label, and its blocks under a data encryption key,
  pure
- ``groups``            the disk groups of one life, and their files on the host's disk
- ``keys``              host key and KEK: persisted, derived, or fetched from the key server
  directly
- ``key_servers``       these servers as clients see them: by bus or by KMIP
- ``mounting``          step B6, and later tries
- ``encryption``        preparing and applying a configuration: encrypt, rekey shallow and deep,
  decrypt
- ``components``        components of objects: created, moved, evacuated, rebuilt
- ``objects``           a guest's writes and reads: stamps, majorities, catching up
- ``unsynced_objects``  the objects whose components have to be synchronised
- ``health``            the host's report on its keys and its key servers
- ``handlers``          the handlers of all these
"""
