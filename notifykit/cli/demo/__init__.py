"""`notifykit demo`: a git history, told."""
