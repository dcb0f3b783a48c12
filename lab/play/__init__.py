"""Experiments are played: prepared, in virtual time or on real processes, replayed.

- ``prepare``  from an experiment's name and a Lab file to a plan with every target and time
  resolved, and the folder of a run that is about to start
- ``planted``  bugs that a negative control is played with
- ``play``     plays prepared experiments in virtual time, replays stored runs, and forks them
- ``preload``  what the fork server of simulations does once for all of them
- ``own_lab``  on real processes, in a lab of its own; ``process_scan`` searches it for keys
"""
