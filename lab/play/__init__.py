"""Experiments are played: prepared, in virtual time or on real processes, replayed.

- ``prepare``  experiment file + Lab file -> plan
- ``planted``  bugs that a negative control is played with
- ``begin``    a run's folder, before it starts
- ``play``     in virtual time; replay
- ``preload``  what the fork server of simulations does once for all of them
- ``own_lab``  on real processes, in a lab of its own; ``process_scan`` searches it for keys
"""
