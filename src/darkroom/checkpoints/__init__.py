"""Other people's model files, looked at before anything of them is opened. Torch-free; nothing in them is run."""
