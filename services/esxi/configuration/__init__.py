"""The configuration of a host and how it is protected on its boot device.

- ``sections``    the configuration of a host
- ``archive``     the configuration archive of a host
- ``sealing``     how the TPM, or material on the disk, protects the config key
- ``boot_banks``  what the boot device has beside the archive
"""
