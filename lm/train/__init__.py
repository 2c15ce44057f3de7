"""The trainer and its parts: objective, optimiser, schedule, checkpoint, guard."""
