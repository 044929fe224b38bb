"""Looking inside: what a model's units do while it reads."""
