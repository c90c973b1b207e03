"""What the service does, without a web framework: who calls, which assistant, which room, which token."""
