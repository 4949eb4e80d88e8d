"""What verbs are called on."""
