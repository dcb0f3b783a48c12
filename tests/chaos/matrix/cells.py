"""How many cells of the table are played: those that apply, of blocks and events that are built."""

PLAYED = 736
