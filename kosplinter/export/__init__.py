"""Models as ONNX: written from PyTorch, run without it."""
