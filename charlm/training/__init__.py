"""Training by truncated backpropagation through time: starting, running, resuming and saving."""
