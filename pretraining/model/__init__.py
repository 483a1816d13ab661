"""The graph: configuration, encoder and heads, objectives, optimizer, initial values."""
