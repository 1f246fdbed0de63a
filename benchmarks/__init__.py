"""One script a claim; each prints its table."""
