"""The ground floor every station stands on: one kind of user error, and output that appears whole or not at all."""
