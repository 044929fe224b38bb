"""Models of the next character: one protocol, implemented in NumPy for inference and in torch for training."""
