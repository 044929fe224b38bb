"""A model at rest: one verified safetensors file, and what must be in it."""
