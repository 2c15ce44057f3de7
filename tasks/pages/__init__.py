"""What ladders, studies, scaling studies, fine-tunings and labelled sets show to people: pages and pictures."""
