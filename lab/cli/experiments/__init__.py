"""Commands that play experiments, and read what stored runs were.

- ``chaos``        chaos list, lint, plan, run, replay; runs
- ``stored_runs``  commands on stored runs
- ``campaigns``    commands that play many runs for one verdict
- ``matrix``       the truth table, played
"""
