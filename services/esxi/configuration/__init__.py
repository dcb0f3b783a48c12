"""The configuration of a host and how it is protected on its boot device.

- ``sections``      what the configuration holds, saved in sections
- ``stored_keys``   the persisted keys in it, as a value that grows cheaply
- ``image``         the encrypted file that holds it, as bytes, pure
- ``archive``       the one writer of that file
- ``rollback``      a counter in the TPM that detects an older archive
- ``sealing``       how the TPM, or material on the disk, protects the config key
- ``recovery``      the recovery key of 96 digits
- ``boot_banks``    the release before an upgrade, with its archive, for a rollback
- ``boot_options``  the options that the boot loader passes to the kernel, in clear
"""
