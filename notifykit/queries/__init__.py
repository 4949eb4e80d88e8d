"""Loaders that several rooms share."""
