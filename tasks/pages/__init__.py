"""What ladders, studies and fine-tunings show to people: pages and pictures."""
