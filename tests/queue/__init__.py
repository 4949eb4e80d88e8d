"""The queue under every order of events: interleavings, a model, a soak."""
