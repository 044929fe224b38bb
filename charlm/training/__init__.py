"""Training: truncated backpropagation through time, and the folder a run leaves behind."""
