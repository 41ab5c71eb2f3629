"""What controller and daemon have in common: the API's kinds as resources, numbers, health, and a process's life."""
