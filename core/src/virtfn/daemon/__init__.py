"""The daemon: makes one node's cards what its node state wants, and tells what it sees, plans and does."""
