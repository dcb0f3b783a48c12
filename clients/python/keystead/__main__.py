"""``python -m keystead``: the same program as ``keystead``."""

from keystead._launcher import main

main()
