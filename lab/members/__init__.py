"""A machine that is part of a lab, and how the supervisor lets it in.

- ``joining``   ``keystead agent join`` from its file to its end
- ``holding``   the processes of one machine, held for a supervisor that is elsewhere as long as it
  is reached; and what the machine keeps in its own state folder of a lab that it has joined
- ``inviting``  bundles and places for machines that share a folder with the lab
"""
