"""Checkpoints: verified safetensors files, and the tensors they must contain."""
