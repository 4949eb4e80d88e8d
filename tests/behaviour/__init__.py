"""What notifykit promises, written once and run on both notifiers and every database."""
