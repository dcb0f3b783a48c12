"""Runs of experiments: prepared, played in either mode, stored, listed, replayed.

- ``prepare``  experiment file + Lab file -> plan      - ``store``   folders of runs
- ``play``     in virtual time, in a lab of its own, or in a running one (``live``); replay
"""
