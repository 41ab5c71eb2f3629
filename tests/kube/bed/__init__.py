"""A real Kubernetes API server for tests: its binaries, its life, and the trouble between it and its clients."""
