"""The keys available on a host, and where it looks for a missing one.

- ``key_cache``   the keys that a host holds
- ``key_status``  answers about the keys on a host
- ``vm_keys``     the keys that a VM needs
"""
