"""The control plane: domain <- store <- engine <- (loops | api) <- wiring, never upwards."""
