"""The built-in models as plain PyTorch modules, their weights read by name from the ONNX file."""
