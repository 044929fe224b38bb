"""Inspection of the hidden units and gradients of a recurrent model while it reads a text."""
