"""A model behind an OpenAI-compatible HTTP API: engine (no sockets) apart from transport (no models)."""
