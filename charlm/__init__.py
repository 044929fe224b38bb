"""charlm: character-level recurrent language models, trained, sampled and looked into.

This file imports nothing, so that a command which needs no torch pays for none.
"""

__version__ = "0.1.0"
