"""What notifykit promises, written once and run on both doors and every database."""
