"""The experiment file (``kind: Experiment``): from text to a plan with every name and time.

- ``document``     the text as a document: values and problems with their places, parameters
- ``model``        the sections of the file and the entries of its schedule, as models
- ``lint``         all errors of a file in one pass
- ``plan``         what a run does, resolved
- ``resolve``      makes a plan of a document
- ``timeline``     when and on what the entries of a schedule are played, within limits
- ``schema``       the JSON schema for editors, and what fields mean
- ``generate``     random schedules
- ``random_runs``  whole random runs, and the faults that only some of them draw
- ``shrink``       a failing plan to a small one
- ``write``        a plan as a file; a new file
"""
