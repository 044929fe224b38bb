"""Text on its way to a model: files → characters → ids → windows."""
