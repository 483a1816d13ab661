"""QASS in PyTorch, checkpoint conversion, and few-shot question answering."""
