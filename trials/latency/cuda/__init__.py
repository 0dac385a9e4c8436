"""This machine's NVIDIA GPU as a device: whichever TensorRT is installed builds, and a CUDA graph is timed."""

from trials.latency.cuda.device import CudaDevice

__all__ = ["CudaDevice"]
