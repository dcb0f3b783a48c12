"""Records of nodes as JSON lines: ``write`` appends them, ``read`` merges and filters them."""
