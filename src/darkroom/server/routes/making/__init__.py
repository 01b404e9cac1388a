"""What helps to ask for pictures: prompts laid open, saved styles, grids and films."""
