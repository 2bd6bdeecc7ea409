"""What needs a CUDA device, in one command: `python -m benchmarks.gpu`."""
