"""The network folded for prediction: defined once, run by JAX or ONNX Runtime."""
