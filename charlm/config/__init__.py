"""YAML ⇄ frozen, typed settings; what is not understood is refused."""
