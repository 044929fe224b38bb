"""YAML ⇄ immutable, typed settings; unknown keys and values are errors."""
