"""The fronts: the call pipeline, the services and their translation between wire and engine."""
