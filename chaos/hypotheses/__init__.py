"""Hypotheses: what an experiment requires before, during and after its faults.

- ``probes``     what can be measured, each by observation only
- ``tolerance``  the limit of a measurement: ``">= 1"``, ``"< 250ms"``
"""
