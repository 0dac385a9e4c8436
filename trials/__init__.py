"""What happens to one architecture: data, latency, training, detections and their score.

`trials.trial` runs it all as one trial. Its sub-packages, from the bottom up: `data`, `detections`, `onnx`, then `latency`
and `scoring`, then `training`.
"""
