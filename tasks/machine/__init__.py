"""This machine and this process: where things lie, who runs, what is free, what it costs."""
