"""What trtexec of each version is like, as far as the stand-in imitates it. Runs without the project.

Flags: from the option parsers and help texts of NVIDIA's samples (samples/common/sampleOptions.cpp) and the project's notes.
"""

_ALWAYS = [
    "onnx",
    "saveEngine",
    "loadEngine",
    "exportTimes",
    "exportProfile",
    "exportOutput",
    "useSpinWait",
    "useCudaGraph",
    "warmUp",
    "duration",
    "iterations",
    "avgRuns",
    "percentile",
    "verbose",
    "dumpProfile",
    "dumpOutput",
    "plugins",
    "device",
    "useDLACore",
    "allowGPUFallback",
    "shapes",
    "minShapes",
    "optShapes",
    "maxShapes",
    "inputIOFormats",
    "outputIOFormats",
    "streams",
    "sleepTime",
    "threads",
]
_PRECISIONS = ["fp16", "int8", "best", "noTF32", "calib"]
_TO_8 = [
    "batch",
    "safe",
    "explicitBatch",
    "workspace",
    "uff",
    "deploy",
    "model",
    "output",
    "maxBatch",
    "minTiming",
    "avgTiming",
    "nvtxMode",
    "buildOnly",
]
_FROM_72 = ["noDataTransfers", "separateProfileRun", "exposeDMA", "refit", "noBuilderCache", "tacticSources"]
_FROM_80 = ["timingCacheFile", "sparsity", "timeDeserialize", "timeRefit", "idleTime"]
_FROM_84 = ["memPoolSize", "useManagedMemory", "layerPrecisions", "precisionConstraints", "profilingVerbosity"]
_FROM_86 = [
    "skipInference",
    "builderOptimizationLevel",
    "versionCompatible",
    "hardwareCompatibilityLevel",
    "maxAuxStreams",
]
_FROM_10 = ["stronglyTyped", "stripWeights", "infStreams", "staticPlugins", "useProfile", "avgTiming"]

FLAGS: dict[str, frozenset[str]] = {
    "7.1.3": frozenset([*_ALWAYS, *_PRECISIONS, *_TO_8]),
    "8.0.1": frozenset([*_ALWAYS, *_PRECISIONS, *_TO_8, *_FROM_72, *_FROM_80]),
    "8.2.1": frozenset([*_ALWAYS, *_PRECISIONS, *_TO_8, *_FROM_72, *_FROM_80]),
    "8.4.1": frozenset([*_ALWAYS, *_PRECISIONS, *_TO_8, *_FROM_72, *_FROM_80, *_FROM_84]),
    "8.5.2": frozenset([*_ALWAYS, *_PRECISIONS, *_TO_8, *_FROM_72, *_FROM_80, *_FROM_84]),
    "8.6.2": frozenset([*_ALWAYS, *_PRECISIONS, *_TO_8, *_FROM_72, *_FROM_80, *_FROM_84, *_FROM_86]),
    "10.3.0": frozenset([*_ALWAYS, *_PRECISIONS, *_FROM_72, *_FROM_80, *_FROM_84, *_FROM_86, *_FROM_10]),
    "10.13.3": frozenset([*_ALWAYS, *_PRECISIONS, *_FROM_72, *_FROM_80, *_FROM_84, *_FROM_86, *_FROM_10]),
    "11.2.1": frozenset(
        [*_ALWAYS, *_FROM_80, *_FROM_84, *_FROM_86, *_FROM_10, "noDataTransfers", "separateProfileRun"]
    ),
}
"""Version to the flags it takes."""

HIDDEN: dict[str, frozenset[str]] = {"8.6.2": frozenset({"buildOnly"})}
"""Taken, yet not in the help."""

HIGHEST_OPSET = {"7.1.3": 11, "8.0.1": 13, "8.2.1": 13, "8.4.1": 17, "8.5.2": 17, "8.6.2": 17}
"""20 for the others."""


def numbers(version: str) -> tuple[int, int, int]:
    """Take a version apart."""
    major, minor, patch = (int(part) for part in version.split("."))
    return major, minor, patch


def banner(version: str) -> str:
    """Give the part of the banner that names the version: 7.x has none, late 10.x and 11 a build number too."""
    major, minor, patch = numbers(version)
    if major < 8:
        return ""
    code = major * 1000 + minor * 100 + patch if major < 10 else major * 10_000 + minor * 100 + patch
    return f" [TensorRT v{code}]{' [b3]' if (major, minor) >= (10, 13) else ''}"
