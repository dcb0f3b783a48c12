"""Encrypted vSAN on a host: disk groups, the keys that open them, and changes of these keys.

- ``disk_groups``  the disk groups of a host in one life
- ``mounting``     mounting disk groups
- ``encryption``   preparing and applying a configuration: encrypt, rekey shallow and deep, decrypt
- ``components``   components of objects: created, moved, evacuated, rebuilt
- ``objects``      a guest's writes and reads: stamps, majorities, catching up
- ``handlers``     handlers of a host with vSAN, for its vCenter, its neighbours and its console,
  and the host's report on its encryption
"""
