"""Many requests at once, as they are written: the spelling of their fields, rows of batch files, axes of grids."""
