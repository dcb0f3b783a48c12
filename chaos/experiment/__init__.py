"""The experiment file (``kind: Experiment``): from text to a plan with every name and time.

``model`` the sections of the file · ``parse`` YAML to values with line and column · ``lint`` all
errors of a file in one pass · ``plan`` targets, times and arrivals resolved against one lab ·
``requirements`` what the file requires of a lab and this one is not · ``schema`` for editors ·
``generate`` random schedules and whole random runs · ``shrink`` a failing plan to a small one
"""
