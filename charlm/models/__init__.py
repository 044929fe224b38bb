"""Models of the next character: one protocol, NumPy for reading, torch for training."""
