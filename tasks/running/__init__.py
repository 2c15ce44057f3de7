"""How a stage is run: found or built, part by part, on one machine or several, and what it costs."""
