"""The report of a pipeline: what it says, gathered stage by stage, and its page."""
