"""Files of a run and of others: written whole, opened safely, read as data."""
