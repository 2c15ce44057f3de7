"""Text in, better text out: readers, signals, rules and dedupe, usable alone from a notebook."""
