"""``keystead load``: operations at a rate that no answer changes.

- ``load``     ``load kmip``, ``load compare``, ``load rate``
- ``run``      on a lab
- ``predict``  ``load calibrate``, ``load validate``, ``load predict``
"""
