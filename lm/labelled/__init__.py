"""Labelled examples: what a task asks, and the table its examples stand in."""
