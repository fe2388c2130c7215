"""Models in the forms in which they are deployed: ONNX files, quantized networks, and the pictures to check them."""
