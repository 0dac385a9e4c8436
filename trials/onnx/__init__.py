"""trials/onnx."""
