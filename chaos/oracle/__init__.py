"""The documented behaviour as a model that shares no decision code with the services.

- ``terms``      blocks, faults, events and letters of the truth table
- ``facts``      what the answer to one question rests upon
- ``reasons``    R1 to R66: each a function of the facts
- ``judgement``  what comes of a question, and by which reasons
- ``effects``    what a fault takes away: each fault declares its own
- ``fold``       the facts of a run, folded from its history, and what they allow
- ``table``      the truth table, cell by cell, to compare with: the model itself never reads it
"""
