"""Runs of experiments: prepared, played in either mode, stored, listed, replayed.

- ``prepare``  experiment file + Lab file -> plan
- ``planted``  bugs that a negative control is played with
- ``begin``    a run's folder, before it starts
- ``play``     in virtual time; replay
- ``own_lab``  on real processes, in a lab of its own
- ``live``     in a lab that runs already    - ``changing``  its load meanwhile
- ``store``    folders of runs
"""
