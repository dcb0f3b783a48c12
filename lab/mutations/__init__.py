"""Planted bugs: each module here breaks one promise of the product when it is imported.

Nothing imports them in normal use. A simulated lab imports one in its worker, an agent process
of a real lab before it builds its nodes (``Lab(patch="lab.mutations.cache_survives_reboot")``).
Services know nothing of them: they replace functions and methods from outside (``planting``).
``tests/mutations`` shows for each which named test or experiment turns red.

The six of the first promise: ``persistence_unsynced`` ``unseal_ignores_pcrs``
``vcenter_keeps_values`` ``cache_survives_reboot`` ``speaks_as_another`` ``dice_urandom``
``dice_random`` ``dice_time``. ``key_ledger`` breaks nothing: it writes down every key that an
agent process holds, for the scan of a whole run; ``key_leaks`` puts one into every kind of
place. All others break one rule each, named in their first line.
"""
