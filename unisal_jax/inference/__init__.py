"""The network folded for prediction: defined once, run by JAX or by ONNX Runtime."""
