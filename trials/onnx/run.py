"""Runs an exported detector on images, folders, videos or a camera.

    python3 run.py image.jpg FOLDER video.mp4 camera:0 rtsp://host/stream

It needs numpy, OpenCV or Pillow (OpenCV for videos, cameras and network streams), and ONNX Runtime, OpenVINO or TensorRT;
nothing else. It is written for Python 3.6, the one of a Jetson Nano. From Python: ``Detector("folder").detect(image)``.
"""

import argparse
import ctypes
import glob
import hashlib
import json
import os
import sys
import tempfile
import time

import numpy as np

try:
    import cv2
except ImportError:  # Pillow does for images
    cv2 = None

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
NMS_FILE = "model-nms.onnx"  # suppression by ONNX's operator, whose number of boxes TensorRT does not know beforehand
PLUGIN_FILE = "model-efficientnms.onnx"  # suppression by TensorRT's plugin EfficientNMS_TRT
CPU = ("CPUExecutionProvider",)  # exact on any machine: on a GPU, ONNX Runtime rounds to TF32 by default
PROVIDERS = ("CUDAExecutionProvider", *CPU)
BOARD_FILE = "/proc/device-tree/model"
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm")


class Detector:
    """The detector of a folder that holds ``model.onnx`` and ``detector.json``.

    Args:
        folder: The export.
        backend: ``onnxruntime``, ``openvino``, ``tensorrt``, or None for TensorRT where an engine of the file lies in the
            folder that this machine can load, OpenVINO for an ``.xml`` file, and ONNX Runtime otherwise.
        file: Which of its files: ``model.onnx``, ``model-fp16.onnx``, ``model-int8.onnx``, ``model-nms.onnx``, ``raw.onnx``,
            for TensorRT ``model-efficientnms.onnx``, or for OpenVINO ``model.xml``.
        providers: Of ONNX Runtime: those of them that it has here, the best first.
    """

    def __init__(self, folder, backend=None, file="model.onnx", providers=PROVIDERS):
        with open(os.path.join(folder, "detector.json"), encoding="utf-8") as opened:
            self.settings = read_settings(opened)
        self.class_names = self.settings["class_names"]
        self.input_hw = tuple(self.settings["input_hw"])
        if backend == "openvino":
            file = os.path.splitext(file)[0] + ".xml"
        there = sorted(name for name in os.listdir(folder) if name.endswith((".onnx", ".xml")))
        if file not in there:
            raise ValueError(f"{folder} has no {file}; there are {', '.join(there)}")
        self.path = path = os.path.join(folder, file)
        is_asked, backend = bool(backend), backend or choose_backend(path, self.settings)
        if file == PLUGIN_FILE and backend != "tensorrt":
            raise ValueError(f"{file} has a plugin that TensorRT alone runs: --backend tensorrt, or --file model.onnx")
        if file == NMS_FILE and backend == "tensorrt":
            raise ValueError(f"{file} is not run in TensorRT here: --backend onnxruntime, or --file model.onnx")
        self.network = open_network(path, self.settings, backend, is_asked, providers)
        if file == "raw.onnx":
            self.network = RawMaps(self.network, self.settings)
        self.seconds = {"before": 0.0, "network": 0.0, "after": 0.0}
        self.first = {}  # of the first image, for which runtimes allocate and compile
        self.count = 0

    def detect(self, image, score_threshold=0.25, nms_iou=0.5, max_detections=100, max_candidates=1000):
        """Return the boxes, scores and labels found in an image, best first.

        Args:
            image: (H, W, 3) uint8 RGB.
            score_threshold: Boxes with a score above it are kept.
            nms_iou: A box is dropped if it overlaps a better one of its class by more than this. ``model-nms.onnx`` has
                dropped them already, by thresholds of its own.
            max_detections: Most boxes kept.
            max_candidates: Most pairs of box and class that are compared with each other.

        Returns:
            (N, 4) float32 xyxy in pixels of the image, (N,) float32 scores from 0 to 1, (N,) int64 classes.
        """
        clock = [time.perf_counter()]
        boxed, place = letterbox(image, self.input_hw, self.settings["letterbox_rgb"])
        images = np.ascontiguousarray(boxed.transpose(2, 0, 1)[None], dtype=np.float32)
        clock.append(time.perf_counter())
        outputs = self.network(images)
        clock.append(time.perf_counter())
        outputs = check_outputs(outputs, len(self.class_names))
        if len(outputs) == 3:  # suppressed, best first, padded with labels of -1
            is_kept = (outputs[1] > score_threshold) & (outputs[2] >= 0)
            found = [one[is_kept][:max_detections] for one in outputs]
        else:
            found = select(outputs[0], outputs[1], score_threshold, nms_iou, max_detections, max_candidates)
        kept = unletterbox(found[0], place, image.shape)
        clock.append(time.perf_counter())
        for name, began, ended in zip(("before", "network", "after"), clock, clock[1:]):
            self.seconds[name] += ended - began
        self.first = self.first or dict(self.seconds)
        self.count += 1
        return kept, found[1], found[2].astype(np.int64)

    def speed(self):
        """Return in words how long an image took, before, in and after the network; reading and drawing are not counted.

        The first image is not counted either, unless it is the only one.
        """
        count, seconds = self.count, self.seconds
        if count > 1:
            count, seconds = count - 1, {name: self.seconds[name] - self.first[name] for name in self.seconds}
        parts = ", ".join(f"{name} {1000 * seconds[name] / count:.1f} ms" for name in seconds)
        rates = f"{count / sum(seconds.values()):.1f} images/s, the network alone {count / seconds['network']:.1f}"
        words = "1 image, with what a first one takes" if self.count == 1 else f"{self.count} images"
        return f"{words}: {parts}; {rates}"


def open_network(path, settings, backend, is_asked, providers):
    """Open a file in a backend; where TensorRT was not asked for and cannot load the kept engine here, in ONNX Runtime."""
    if backend == "onnxruntime":
        return OnnxRuntime(path, providers)
    if backend == "openvino":
        return OpenVino(path)
    if backend != "tensorrt":
        raise ValueError(f"backend {backend!r} is none of onnxruntime, openvino, tensorrt")
    try:
        return TensorRT(path, settings)
    except (ImportError, CannotLoadError) as error:
        if is_asked or os.path.basename(path) == PLUGIN_FILE:
            raise
        try:
            network = OnnxRuntime(path, providers)
        except ImportError:
            raise error from None
        print(f"note: in ONNX Runtime, since the engine beside {path} cannot be loaded: {error}", file=sys.stderr)
        return network


class CannotLoadError(RuntimeError):
    """No engine, or not the kept one, can be loaded on this machine."""


def read_settings(opened):
    """Return what ``detector.json`` holds; raise a ValueError where it does not describe a detector."""
    try:
        settings = json.load(opened)
    except RecursionError as error:
        raise ValueError("detector.json is nested too deeply") from error
    if not isinstance(settings, dict):
        raise ValueError("detector.json holds no object")
    names, sides, colour = (settings.get(name) for name in ("class_names", "input_hw", "letterbox_rgb"))
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names in detector.json is no list of names")
    if not isinstance(sides, list) or len(sides) != 2 or not all(type(s) is int and 0 < s <= 8192 for s in sides):
        raise ValueError("input_hw in detector.json is no list of height and width, each from 1 to 8192")
    if not isinstance(colour, list) or len(colour) != 3 or not all(type(c) is int and 0 <= c <= 255 for c in colour):
        raise ValueError("letterbox_rgb in detector.json is no list of three numbers from 0 to 255")
    return settings


def check_outputs(outputs, num_classes):
    """Return a network's outputs for the one image: (P, 4) boxes and (P, K) scores, or (N, 4), (N,) and (N,) labels.

    Raises:
        ValueError: they have other shapes, or hold NaN or infinite values.
    """
    shapes = [getattr(one, "shape", None) for one in outputs]
    if shapes and all(shape and shape[0] == 1 for shape in shapes):
        found = [one[0] for one in outputs]
        inner = [shape[1:] for shape in shapes]
        count = inner[0][0] if len(inner[0]) == 2 else -1
        if inner in ([(count, 4), (count, num_classes)], [(count, 4), (count,), (count,)]):
            if not all(np.isfinite(one).all() for one in found):
                raise ValueError("the network's outputs are NaN or infinite")
            if len(found) == 2 or (found[2] < num_classes).all():
                return found
    raise ValueError(f"the network's outputs, of shapes {shapes}, are no boxes and scores of {num_classes} classes")


class OnnxRuntime:
    """A file in ONNX Runtime: images (1, 3, H, W) to its outputs, for most boxes (1, P, 4) and scores (1, P, K)."""

    def __init__(self, path, providers):
        import onnxruntime

        there = [name for name in providers if name in onnxruntime.get_available_providers()]
        try:
            self._session = onnxruntime.InferenceSession(path, providers=there)
        except Exception as error:  # its error classes have nothing in common but this
            raise ValueError(f"ONNX Runtime cannot run {path}: {error}") from error
        self._path = path

    def __call__(self, images):
        try:
            return self._session.run(None, {"images": images})
        except Exception as error:
            raise ValueError(f"ONNX Runtime cannot run {self._path}: {error}") from error


class OpenVino:
    """A file in OpenVINO on the CPU, in float32 where it is not INT8: by default it would take bfloat16 on some CPUs."""

    def __init__(self, path):
        import openvino

        hints = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._model = openvino.compile_model(path, "CPU", hints)

    def __call__(self, images):
        return list(self._model([images]).to_tuple())


class RawMaps:
    """The network alone, with the normalisation before it and the decoding after it in numpy."""

    def __init__(self, network, settings):
        self._network, self._raw, self._num_classes = network, settings["raw.onnx"], len(settings["class_names"])
        self._mean, self._std = (np.array(self._raw[name], np.float32).reshape(1, 3, 1, 1) for name in ("mean", "std"))

    def __call__(self, images):
        maps = self._network((images / 255 - self._mean) / self._std)
        places = zip(maps, self._raw["strides"], self._raw["anchors"])
        parts = [decode(*place, coding=self._raw["coding"], num_classes=self._num_classes) for place in places]
        return [np.concatenate(one)[None] for one in zip(*parts)]


def decode(values, stride, anchors, coding, num_classes):
    """Decode one raw map (1, A·V, H, W) of logits to (H·W·A, 4) boxes xyxy and (H·W·A, K) scores."""
    height, width = values.shape[2:]
    rows = values[0].reshape(len(anchors), -1, height, width).transpose(2, 3, 0, 1)  # (H, W, A, V)
    cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)[:, :, None]  # (H, W, 1, 2)
    scores = sigmoid(rows[..., -num_classes:])
    if coding == "distances":
        logits = rows[..., :-num_classes].reshape(height, width, len(anchors), 4, -1)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        sides = (shares * np.arange(shares.shape[-1])).sum(axis=-1) / shares.sum(axis=-1) * stride
        first, last = (cells + 0.5) * stride - sides[..., :2], (cells + 0.5) * stride + sides[..., 2:].clip(min=1e-3)
    else:
        scores = scores * sigmoid(rows[..., 4:5])
        if coding == "bounded":
            centres, sizes = 2 * sigmoid(rows[..., :2]) - 0.5, (2 * sigmoid(rows[..., 2:4])) ** 2
        else:
            centres, sizes = sigmoid(rows[..., :2]), np.exp(rows[..., 2:4].clip(max=6))
        centres, halves = (centres + cells) * stride, (sizes * anchors).clip(min=1e-3) / 2
        first, last = centres - halves, centres + halves
    boxes = np.concatenate((first, last), axis=-1)
    return boxes.reshape(-1, 4).astype(np.float32), scores.reshape(-1, num_classes)


def sigmoid(values):
    """Return the logistic function of values."""
    return 1 / (1 + np.exp(-values.clip(-80, 80)))


class TensorRT:
    """A file in TensorRT (7 or later) or TensorRT for RTX; its engine is the folder's, or built once and kept there.

    A built engine is in FP16 (and INT8). TensorRT 11 and TensorRT for RTX convert nothing: for ``model.onnx`` they build
    ``model-fp16.onnx``, or an engine in FP32 without that file.
    """

    def __init__(self, onnx_path, settings):
        trt = import_tensorrt()
        self._cuda = Cuda()
        logger = trt.Logger(trt.Logger.WARNING)
        if os.path.basename(onnx_path) == PLUGIN_FILE:
            trt.init_libnvinfer_plugins(logger, "")
        source = file_to_build(trt, onnx_path)
        path = fitting_engine(onnx_path, settings) or engine_path(source)
        is_kept = os.path.exists(path)
        if is_kept:
            with open(path, "rb") as file:
                plan = file.read()
        else:
            print(f"building {path}, which takes minutes on a small board", file=sys.stderr)
            if not (converts(trt) or is_reduced(source)):
                print(
                    "note: the engine is in FP32: this TensorRT converts no file to FP16; `yoloret-nas export --precision "
                    "fp16` writes model-fp16.onnx, which it takes for model.onnx",
                    file=sys.stderr,
                )
            plan = build_engine(trt, logger, source)
        # Without a GPU, for example, TensorRT returns no runtime, of which the bindings make a TypeError.
        try:
            self._runtime = trt.Runtime(logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        except TypeError:
            self._engine = None
        if self._engine is None and is_kept:
            raise CannotLoadError(
                f"{path} is of another TensorRT or GPU, or no GPU answers. "
                "To have this machine build its own, delete it and use --backend tensorrt"
            )
        if self._engine is None:
            raise RuntimeError("TensorRT cannot load the engine it built; its messages above say why")
        if not is_kept:
            keep_engine(path, plan)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise RuntimeError("TensorRT cannot run the engine; its messages above say why (memory, most often)")
        self._host, self._device = {}, {}
        for name, shape in self._tensors():
            self._host[name] = np.zeros(shape, np.int32 if name in ("labels", "number") else np.float32)
            self._device[name] = self._cuda.allocate(self._host[name].nbytes)
        raw = settings.get("raw.onnx", {}).get("outputs", ())
        known = [name for name in ("boxes", "scores", "labels", "number") if name in self._host]
        self._outputs = known or raw

    def __call__(self, images):
        self._host["images"][...] = images
        self._cuda.copy(self._device["images"], self._host["images"], to_device=True)
        if hasattr(self._context, "set_tensor_address"):  # TensorRT 8.5 and later
            for name, address in self._device.items():
                self._context.set_tensor_address(name, address)
            is_done = self._context.execute_async_v3(0)
            self._cuda.synchronize()
        else:
            is_done = self._context.execute_v2([self._device[name] for name in self._order])
        if not is_done:
            raise RuntimeError("TensorRT could not run the network")
        for name in self._outputs:
            self._cuda.copy(self._device[name], self._host[name], to_device=False)
        if "number" in self._host:
            number = self._host["number"][0, 0]
            self._host["boxes"][:, number:], self._host["scores"][:, number:] = 0, 0
            self._host["labels"][:, number:] = -1
        return [self._host[name] for name in self._outputs if name != "number"]

    def _tensors(self):
        """Return name and shape of each input and output, in the engine's order."""
        engine = self._engine
        if hasattr(engine, "num_io_tensors"):
            names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
            shapes = [tuple(engine.get_tensor_shape(name)) for name in names]
        else:
            names = [engine.get_binding_name(index) for index in range(engine.num_bindings)]
            shapes = [tuple(engine.get_binding_shape(index)) for index in range(engine.num_bindings)]
        self._order = names
        return list(zip(names, shapes))


def import_tensorrt():
    """Return the package of TensorRT, or of TensorRT for RTX."""
    try:
        import tensorrt as trt
    except ImportError as error:
        try:
            import tensorrt_rtx as trt
        except ImportError:
            raise ImportError(
                f"{error}; on a Jetson use the system's python3, elsewhere --backend onnxruntime"
            ) from error
    return trt


def choose_backend(path, settings):
    """Return the backend that runs a file where none was asked for."""
    if path.endswith(".xml"):
        return "openvino"
    if os.path.basename(path) == NMS_FILE:
        return "onnxruntime"
    built = [engine_path(one) for one in (path, half_file(path)) if os.path.exists(one)]
    is_built = any(map(os.path.exists, built)) or fitting_engine(path, settings)
    return "tensorrt" if is_built or os.path.basename(path) == PLUGIN_FILE else "onnxruntime"


def fitting_engine(onnx_path, settings):
    """Return the engine that the export holds of a file; None where this TensorRT or GPU is not the one it was built for."""
    path = os.path.splitext(onnx_path)[0] + ".engine"
    built_for = settings.get(os.path.basename(path))
    if built_for is None or not os.path.exists(path):
        return None
    try:
        trt = import_tensorrt()
    except ImportError:
        return None
    name = "TensorRT for RTX" if trt.__name__ == "tensorrt_rtx" else "TensorRT"
    here = f"{name} {'.'.join(trt.__version__.split('.')[:3])}"
    return path if built_for["tensorrt"] == here and built_for["board"] in board_names() else None


def board_names():
    """Return the names of this machine's board and first GPU, as far as they have one."""
    names = []
    try:
        with open(BOARD_FILE, encoding="utf-8") as file:
            names.append(file.read().replace("\0", "").strip())
    except OSError:  # no board
        pass
    try:
        cuda, name = ctypes.CDLL("libcuda.so.1"), ctypes.create_string_buffer(256)
    except OSError:  # no driver
        return names
    if cuda.cuInit(0) == 0 and cuda.cuDeviceGetName(name, 256, 0) == 0:
        names.append(name.value.decode())
    return names


def engine_path(onnx_path):
    """Return the path of a file's engine; another file of the same name has another."""
    with open(onnx_path, "rb") as file:
        mark = hashlib.sha256(file.read()).hexdigest()[:12]
    return f"{os.path.splitext(onnx_path)[0]}-{mark}.engine"


def keep_engine(path, plan):
    """Write an engine where the next start finds it, or say that it cannot be kept."""
    partial = ""
    for left in glob.glob(glob.escape(path) + ".*.partial"):  # of a program that was killed; two may start at once
        try:
            if time.time() - os.stat(left).st_mtime > 3600:
                os.remove(left)
        except OSError:  # another one has removed it, or another user owns it
            continue
    try:
        number, partial = tempfile.mkstemp(".partial", os.path.basename(path) + ".", os.path.dirname(path))
        with os.fdopen(number, "wb") as file:
            file.write(plan)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(partial, 0o666 & ~mask)  # mkstemp's files are its owner's alone
        os.rename(partial, path)
    except OSError as error:
        print(f"note: the engine is built anew next time: {error}", file=sys.stderr)
        if os.path.exists(partial):
            os.remove(partial)


def converts(trt):
    """Return whether this TensorRT builds FP16 engines of FP32 files."""
    return hasattr(trt.BuilderFlag, "FP16")


def is_reduced(onnx_path):
    """Return whether a file is in FP16 or INT8 by itself."""
    return any(word in os.path.basename(onnx_path) for word in ("fp16", "int8"))


def half_file(onnx_path):
    """Return the path of the export's FP16 file of ``model.onnx``, which need not exist; of others they themselves."""
    folder, name = os.path.split(onnx_path)
    return os.path.join(folder, "model-fp16.onnx") if name == "model.onnx" else onnx_path


def file_to_build(trt, onnx_path):
    """Return the file whose engine is in FP16: the given one where TensorRT converts, else its FP16 file if there is one."""
    half = half_file(onnx_path)
    return half if half != onnx_path and os.path.exists(half) and not converts(trt) else onnx_path


def build_engine(trt, logger, onnx_path):
    """Return the bytes of an engine."""
    try:
        builder = trt.Builder(logger)
    except TypeError:  # what the bindings make of a builder that TensorRT does not return
        raise RuntimeError("TensorRT does not start: no GPU answers, or its driver is too old for it") from None
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, logger)
    with open(onnx_path, "rb") as file:
        if not parser.parse(file.read()):
            reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
            raise RuntimeError(f"TensorRT refuses {onnx_path}: {reasons}")
    config = builder.create_builder_config()
    if hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
    if "int8" in os.path.basename(onnx_path) and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)
    if not hasattr(config, "set_memory_pool_limit"):  # before TensorRT 8.4 the default is no memory at all
        config.max_workspace_size = 256 << 20
    if hasattr(builder, "build_serialized_network"):
        plan = builder.build_serialized_network(network, config)
    else:  # TensorRT 7
        engine = builder.build_engine(network, config)
        plan = None if engine is None else engine.serialize()
    if plan is None:
        raise RuntimeError("TensorRT built no engine; its messages above say why")
    return bytes(plan)


class Cuda:
    """The few functions of CUDA's runtime that it takes to run an engine."""

    def __init__(self):
        for name in cuda_libraries():
            try:
                self._library = ctypes.CDLL(name)
                return
            except OSError:
                continue
        raise CannotLoadError("CUDA's libcudart.so is not found; add its folder to LD_LIBRARY_PATH")

    def allocate(self, num_bytes):
        """Return the address of new memory on the GPU."""
        address = ctypes.c_void_p()
        self._check(self._library.cudaMalloc(ctypes.byref(address), ctypes.c_size_t(num_bytes)))
        return address.value

    def copy(self, address, array, to_device):
        """Copy an array to the GPU, or back."""
        host, device = ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(address)
        target, source, kind = (device, host, 1) if to_device else (host, device, 2)
        self._check(self._library.cudaMemcpy(target, source, ctypes.c_size_t(array.nbytes), kind))

    def synchronize(self):
        """Wait until the GPU has finished."""
        self._check(self._library.cudaDeviceSynchronize())

    def _check(self, status):
        if status != 0:
            raise RuntimeError(f"CUDA failed with error {status}")


def cuda_libraries():
    """Return where CUDA's runtime may be: where the system looks, then in NVIDIA's packages for Python."""
    names = ["libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2"]
    for folder in sys.path:
        names += sorted(glob.glob(os.path.join(glob.escape(folder), "nvidia", "*", "lib", "libcudart.so.*")))
    return names


def letterbox(image, input_hw, colour):
    """Fit an image into the network's input, keeping its aspect ratio, centred between margins of a colour.

    Args:
        image: uint8 RGB, of any height and width.
        input_hw: H, W of the input, pixels.
        colour: Of the margins, RGB.

    Returns:
        The (H, W, 3) uint8 input, and (scale, pad_x, pad_y): ``x' = x * scale + pad_x``.
    """
    height, width = image.shape[:2]
    scale = min(input_hw[0] / height, input_hw[1] / width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    place = (scale, (input_hw[1] - wide) // 2, (input_hw[0] - high) // 2)
    if (height, width) == tuple(input_hw):
        return image, place
    scaled = resize(image, scale, wide, high)[: input_hw[0], : input_hw[1]]
    boxed = np.empty((input_hw[0], input_hw[1], 3), np.uint8)
    boxed[:] = colour
    boxed[place[2] : place[2] + scaled.shape[0], place[1] : place[1] + scaled.shape[1]] = scaled
    return boxed, place


def resize(image, scale, wide, high):
    """Scale an image: by averaging to a smaller size, linearly to a larger one."""
    if cv2 is None:
        from PIL import Image

        return np.asarray(Image.fromarray(image).resize((wide, high), Image.BOX if scale < 1 else Image.BILINEAR))
    is_sliver = min(image.shape[:2]) * scale < 1
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    size = (wide, high) if is_sliver else None  # a given scale keeps boxes exact
    return cv2.resize(image, size, fx=scale, fy=scale, interpolation=interpolation)


def unletterbox(boxes, place, shape):
    """Map boxes from the input back to the image, and clip them to it."""
    scale, pad_x, pad_y = place
    moved = (boxes - np.array([pad_x, pad_y, pad_x, pad_y], np.float32)) / np.float32(scale)
    moved[:, 0::2] = moved[:, 0::2].clip(0, shape[1])
    moved[:, 1::2] = moved[:, 1::2].clip(0, shape[0])
    return moved


def select(boxes, scores, score_threshold, nms_iou, max_detections, max_candidates):
    """Keep the best boxes of each class that do not overlap a better one.

    Args:
        boxes: (P, 4) xyxy.
        scores: (P, K); one box may be kept for several classes.
        score_threshold: Boxes with a score above it are kept.
        nms_iou: Largest overlap with a better box of the class.
        max_detections: Most boxes kept, over all classes.
        max_candidates: Most pairs of box and class that are compared with each other.

    Returns:
        (N, 4) boxes, (N,) scores, (N,) int64 labels, best first.
    """
    rows, labels = np.nonzero(scores > score_threshold)
    order = np.argsort(-scores[rows, labels], kind="mergesort")[:max_candidates]
    rows, labels = rows[order], labels[order]
    boxes, scores = boxes[rows].astype(np.float32), scores[rows, labels].astype(np.float32)
    kept = []
    for label in np.unique(labels):
        waiting = np.nonzero(labels == label)[0]
        while len(waiting):
            kept.append(waiting[0])
            waiting = waiting[1:][overlaps(boxes[waiting[0]], boxes[waiting[1:]]) <= nms_iou]
    kept = np.array(sorted(kept)[:max_detections], np.int64)
    return boxes[kept], scores[kept], labels[kept].astype(np.int64)


def overlaps(box, others):
    """Return the intersection over union of one box with (N, 4) others."""
    box, others = box.astype(np.float64), others.astype(np.float64)
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - shared)


def read_image(path):
    """Read an image file as (H, W, 3) uint8 RGB, upright."""
    if not os.path.exists(path):
        raise ValueError(f"{path} does not exist")
    try:
        image = read_by_opencv(path) if cv2 is not None else read_by_pillow(path)
    except Exception as error:  # each library has errors of its own
        raise ValueError(f"{path} cannot be read: {error}") from error
    if image is None:
        raise ValueError(f"{path} is not an image that OpenCV reads")
    return image


def read_by_opencv(path):
    """Read an image by OpenCV, which turns it upright; None for no image."""
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    return None if image is None else np.ascontiguousarray(image[:, :, ::-1])


def read_by_pillow(path):
    """Read an image by Pillow, whose old versions do not turn it upright."""
    from PIL import Image, ImageOps

    image = getattr(ImageOps, "exif_transpose", lambda given: given)(Image.open(path))
    if image.mode == "F":  # of no known range
        raise ValueError("its pixels are floating-point numbers; save it with 8 bits a channel")
    if image.mode.startswith("I"):  # 16 bits: Pillow would cut them off at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return np.array(image.convert("RGB"))


def draw(image, boxes, scores, labels, class_names):
    """Return a copy of an image with boxes, names and scores drawn, the best on top."""
    corners = np.rint(boxes).astype(int).tolist()
    marks = [
        (x1, y1, max(x1, x2), max(y1, y2), f"{class_names[label]} {score:.2f}", colour_of(label))
        for (x1, y1, x2, y2), score, label in zip(corners, scores, labels)
    ][::-1]
    line = max(1, round(min(image.shape[:2]) / 300))
    if cv2 is None:
        from PIL import Image, ImageDraw

        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        for x1, y1, x2, y2, text, colour in marks:
            pen.rectangle([x1, y1, x2, y2], outline=colour)
            wide = 6 * len(text) + 3
            left = max(0, min(x1, image.shape[1] - wide - 1))
            pen.rectangle([left, max(0, y1 - 12), left + wide, max(12, y1)], fill=colour)
            place = (left + 2, max(0, y1 - 12))
            try:
                pen.text(place, text, fill=(0, 0, 0))
            except UnicodeEncodeError:  # the font of Pillow before 10.1 has Latin letters only
                pen.text(place, text.encode("latin-1", "replace").decode("latin-1"), fill=(0, 0, 0))
        return np.asarray(picture)
    picture, size = image.copy(), max(0.4, min(image.shape[:2]) / 1200)
    stroke = max(1, round(2 * size))
    for x1, y1, x2, y2, text, colour in marks:
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, stroke)
        top, left = max(high + 6, y1), max(0, min(x1, image.shape[1] - wide - 4))
        cv2.rectangle(picture, (x1, y1), (x2, y2), colour, line)
        cv2.rectangle(picture, (left, top - high - 6), (left + wide + 4, top), colour, -1)
        cv2.putText(picture, text, (left + 2, top - 4), cv2.FONT_HERSHEY_SIMPLEX, size, (0, 0, 0), stroke, cv2.LINE_AA)
    return picture


def colour_of(label):
    """Return a class's colour: hues a golden section apart."""
    hue = (int(label) * 0.618034 + 0.33) % 1.0
    return tuple(int(255 * min(1.0, max(0.0, abs((hue + shift) % 1.0 * 6 - 3) - 1))) for shift in (0, 2 / 3, 1 / 3))


def write_image(path, image):
    """Write an RGB image."""
    if cv2 is not None:
        if not cv2.imwrite(path, np.ascontiguousarray(image[:, :, ::-1])):
            raise ValueError(f"{path} cannot be written")
        return
    from PIL import Image

    Image.fromarray(image).save(path)


def open_stream(source):
    """Open a video file, ``camera:N``, or a network stream."""
    if cv2 is None:
        raise ValueError(f"{source}: videos, cameras and network streams need OpenCV")
    capture = cv2.VideoCapture(int(source.split(":")[1]) if source.startswith("camera:") else source)
    if not capture.isOpened():
        raise ValueError(f"{shown(source)} cannot be opened")
    return capture


def frames(source, capture):
    """Yield name and RGB image of each frame."""
    number = 0
    while True:
        is_read, frame = capture.read()
        if not is_read:
            return
        yield f"{shown(source)}#{number}", np.ascontiguousarray(frame[:, :, ::-1])
        number += 1


def images_of(source):
    """Return the image files that a path names."""
    if os.path.isdir(source):
        names = sorted(name for name in os.listdir(source) if name.lower().endswith(IMAGES))
        if not names:
            raise ValueError(f"there is no image in {source}")
        return [os.path.join(source, name) for name in names]
    return [source]


def is_stream(source):
    """Return whether a source is a video, a camera or a network stream."""
    return is_live(source) or is_video(source)


def is_video(source):
    """Return whether a path or an address names a video file."""
    return (source.split("?")[0] if "://" in source else source).lower().endswith(VIDEOS)


def is_live(source):
    """Return whether a source has no end of its own: a camera, or a network stream that is no video file."""
    return source.startswith("camera:") or ("://" in source and not is_video(source))


def shown(source):
    """Return a source without the user and the query of an address, which may hold a password."""
    if "://" not in source:
        return source
    scheme, _, rest = source.split("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


class Film:
    """Writes frames to a video file."""

    def __init__(self, path, rate):
        # MPEG-4 counts time in at most 65535 ticks a second, so the rate of some cameras has too many decimals.
        rate = round(rate, 3 if rate < 65 else 2) if 1 <= rate <= 240 else 25.0
        self._path, self._rate, self._writer = path, rate, None

    @property
    def is_empty(self):
        """Whether it has no frame."""
        return self._writer is None

    def add(self, image):
        """Append an RGB frame."""
        if self._writer is None:
            size = (image.shape[1], image.shape[0])
            writer = cv2.VideoWriter(self._path, cv2.VideoWriter_fourcc(*"mp4v"), self._rate, size)
            if not writer.isOpened():
                raise ValueError(
                    f"{self._path}: OpenCV writes no video of {size[0]}x{size[1]} at {self._rate} frames a second there"
                )
            self._writer = writer
        self._writer.write(np.ascontiguousarray(image[:, :, ::-1]))

    def close(self):
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()


def cut(stem, most_bytes):
    """Return the begin of a file's name: with what is put behind it, file systems take 255 bytes."""
    while len(os.fsencode(stem)) > most_bytes:
        stem = stem[:-1]
    return stem


def free_path(folder, stem, suffix):
    """Return a path in a folder where nothing is yet; a stem that is too long is cut."""
    stem = cut(stem, 230)
    path, number = os.path.join(folder, stem + suffix), 2
    while os.path.exists(path):
        path, number = os.path.join(folder, f"{stem}-{number}{suffix}"), number + 1
    return path


def rows_of(found, class_names):
    """Return detections as JSON types."""
    return [
        {"class": class_names[label], "score": round(float(score), 4), "box_xyxy": [round(float(x), 1) for x in box]}
        for box, score, label in zip(*found)
    ]


def run_stream(detector, source, given):
    """Detect in a video, a camera or a network stream, write a video, and print a line for each frame."""
    count = 0
    capture = open_stream(source)
    stem = os.path.splitext(os.path.basename(source.replace(":", "-")))[0]
    if "://" in source:  # it may end in anything
        stem = "stream"
    film = Film(free_path(given.out, stem, ".mp4"), capture.get(cv2.CAP_PROP_FPS)) if given.out else None
    try:
        for count, (name, image) in enumerate(frames(source, capture), 1):
            picture = detect_and_print(detector, name, image, given)
            if film is not None:
                film.add(picture)
            if count == given.limit:
                break
    finally:
        capture.release()
        if film is not None:
            film.close()
    if count == 0 or (is_live(source) and count != given.limit):  # a video ends, a camera does not
        raise ValueError(f"{shown(source)} gives no {'more frames' if count else 'frame that can be read'}")


def run_images(detector, source, given):
    """Detect in an image or a folder's images, and write pictures; return the number of images that cannot be read."""
    num_broken = 0
    for path in images_of(source)[: given.limit or None]:
        try:
            image = read_image(path)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            num_broken += 1
            continue
        picture = detect_and_print(detector, path, image, given)
        if given.out:
            write_image(free_path(given.out, os.path.splitext(os.path.basename(path))[0], ".png"), picture)
    return num_broken


def detect_and_print(detector, name, image, given):
    """Detect in an image, print its line, and return it with boxes where pictures are wanted."""
    found = detector.detect(image, given.score, given.iou)
    print(json.dumps({"image": name, "detections": rows_of(found, detector.class_names)}), flush=True)
    return draw(image, found[0], found[1], found[2], detector.class_names) if given.out else None


def why_wrong(given):
    """Return what is wrong with the options; empty for nothing."""
    if not (0 <= given.score <= 1 and 0 <= given.iou <= 1):
        return "--score and --iou are from 0 to 1"
    if given.limit < 0:
        return "--limit is 0 or more"
    cameras = [source for source in given.sources if source.startswith("camera:")]
    for source in cameras:
        if not source[len("camera:") :].isdigit():
            return f"{source}: a camera is named by its number, as in camera:0"
    if os.path.exists(given.out) and not os.path.isdir(given.out):
        return f"--out {given.out} is a file, no folder"
    return ""


def main(arguments=None):
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", help="image, folder of images, video, camera:0, or rtsp://HOST/STREAM")
    parser.add_argument(
        "--out", default="detections", help="folder for pictures and videos; empty for none (%(default)s)"
    )
    parser.add_argument(
        "--score", type=float, default=0.25, help="keep boxes with a score above this, 0 to 1 (%(default)s)"
    )
    parser.add_argument("--iou", type=float, default=0.5, help="largest overlap of two boxes of a class (%(default)s)")
    parser.add_argument("--limit", type=int, default=0, help="stop each source after so many images (0: do not)")
    parser.add_argument(
        "--backend",
        choices=("onnxruntime", "openvino", "tensorrt"),
        help="(tensorrt where an engine lies that this machine can load, else onnxruntime)",
    )
    parser.add_argument(
        "--file",
        default="model.onnx",
        help="another file of the export, such as model-int8.onnx or raw.onnx (%(default)s)",
    )
    parser.add_argument("--model", default=os.path.dirname(os.path.abspath(__file__)), help="folder of the export")
    given = parser.parse_args(arguments)
    reason = why_wrong(given)
    if reason:
        parser.error(reason)
    detector, status = None, 0
    try:
        detector = Detector(given.model, given.backend, given.file)
        if given.out and not os.path.isdir(given.out):
            os.makedirs(given.out)
        for source in given.sources:
            if is_stream(source):
                run_stream(detector, source, given)
            elif run_images(detector, source, given):
                status = 1
    except BrokenPipeError:  # the reader of a pipe has gone: nothing is wrong, and nothing more can be printed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    if detector is not None and detector.count:
        drawn = f"; drawn in {given.out}" if given.out else ""
        print(f"{detector.speed()}{drawn}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
