"""The configuration of a host and how it is protected on its boot device.

- ``sections``  what the configuration holds, saved in sections
- ``stored_keys``  the persisted keys in it, as a value that grows cheaply
- ``image``     the encrypted file that holds it, as bytes, pure
- ``archive``   the one writer of that file
- ``rollback``  a counter in the TPM that tells an older archive from the last one
- ``sealing``   how the TPM (or what lies on the disk) protects the config key
- ``recovery``  the recovery key of 96 digits
- ``boot_banks``  the release before an upgrade, with its archive, to go back to
- ``boot_options``  what the boot loader passes to the kernel, in clear
"""
