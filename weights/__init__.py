"""Trained weights that come with the kit, and how each was made."""
