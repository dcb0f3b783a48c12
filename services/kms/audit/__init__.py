"""The audit trail.

- ``audit_trail``    the audit trail
- ``deferred_rows``  rows of the trail that are not written with their operation
"""
