"""The experiment file (``kind: Experiment``): from text to a plan with every name and time.

``section`` what sections are made of · ``model`` the sections of the file · ``schedule_model`` the
entries of its schedule · ``skeleton`` a new file · ``control`` what a planted bug must turn red ·
``parse`` YAML to values with line and column · ``lint`` all errors of a file in one pass:
``sections`` as models, the ``parameters`` put in, ``lint_schedule``
the entries · ``plan`` what a run does, resolved · ``resolve`` makes it: ``timeline`` when and on
whom entries are played, ``fits`` whether that is within limits ·
``headings`` what a file says of itself, for lists · ``schema`` for editors, ``field_docs`` what
fields mean ·
``generate`` random schedules · ``random_runs`` whole random runs · ``unusual`` faults of some ·
``shrink`` a failing plan to a small one · ``written`` a plan as a file
"""
