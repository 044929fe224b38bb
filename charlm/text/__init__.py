"""Reading text for a model: files → characters → ids → windows."""
