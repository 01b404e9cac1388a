"""What networks that are not ours need around them."""
