"""Checks of keys: none is lost, has two values, stays too long or lies where it must not.

Map:

- ``acked_key_recoverable``  a key whose creation was acknowledged is there at the end (taken away
                             on purpose excepted)
- ``given_up_keys_gone``     the key of a VM that was destroyed leaves every host
- ``no_plaintext_key``       no key lies in clear on the bus, on a disk, in a database, a log, what
                             a process shows, or the history and report of the run, in whatever form
                             it could be written
- ``nothing_left``           after an acknowledged ``disable --remove-all-stored-keys`` no persisted
                             key lies on that host's disk or in its TPM, whatever was written or
                             synced, and whatever befalls it until persistence is enabled
- ``one_key_one_value``      a key id has one value for ever, wherever it lies
- ``only_given_keys``        a host has only keys that its own cluster was given, whatever VMs it
                             lists to its vCenter (C28)
- ``retired_provider_unused``  nothing is left under a key provider that was deleted for good
- ``replicas_agree``         key servers that replicate have the same keys in the same states at the
                             end, and no id has two materials
"""
