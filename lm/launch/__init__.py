"""A pretraining in several processes: what torchrun is told, what each process does, and what is heard of them."""
