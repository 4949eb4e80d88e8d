"""The doors: what verbs are called on, where they stand, and what follows a commit."""
