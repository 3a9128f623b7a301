"""Our record of what was consumed beside the provider's own: reading theirs, and comparing the two. Pure."""
