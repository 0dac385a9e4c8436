"""The folder that an export writes, and detections drawn on images."""
