"""trials/detections."""
