"""One file for each form of task: its inputs, its loss, and what the head's outputs mean."""
