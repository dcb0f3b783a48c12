"""Hypotheses: what an experiment requires before, during and after its faults.

- ``probes``  what hypotheses measure, each by observation only, and their tolerances
"""
