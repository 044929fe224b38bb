"""Training: truncated backpropagation through time, what starts it, drives it and keeps what it brings."""
