"""What scenes are composed of: read from a data pack, kept as tables of pictures."""
