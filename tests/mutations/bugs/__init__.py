"""Planted bugs: each module here breaks one promise of the product when it is imported.

Nothing imports them in normal use. A simulated lab imports one in its worker, an agent process
of a real lab before it builds its nodes (``Lab(patch="tests.mutations.bugs.no_eviction")``).
Services know nothing of them: they replace functions and methods from outside (``planting``).
Each names the rule that it breaks in its first line; ``tests/mutations/table.py`` names the test
that turns red for it. That every bug still hits something is tested in the quick run
(``test_planting``); that it is noticed, in the slow one (``./keystead test --slow``).

To add a bug: a file here, and a line in the table with the test that kills it.

Two break no rule: ``planting`` is what all use, and ``key_leaks`` puts a key into every kind of
place, for the scan of a whole run.
"""
