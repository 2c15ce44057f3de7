"""What commands do that are no flows: each asks or changes one thing and ends."""
