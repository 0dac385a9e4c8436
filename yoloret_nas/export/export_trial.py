"""Exports a trial: the detector, tried on images and measured, with its figures and pictures."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from search.reports.picture import draw_front
from search.study.read_study import ReadStudy
from search.study.record import TrialRecord
from search.study.summary import Summary
from spaces import YoloRetError
from trials.data import DatasetError, Sample, open_dataset
from trials.data.image_check import check_images
from trials.detections import Decoding
from trials.latency import Latency
from trials.latency.cache import LatencyCache
from trials.latency.measure import measure_quietly
from trials.latency.measurement_lock import MeasurementLock
from trials.latency.open_device import open_device
from trials.onnx import run
from trials.onnx.export import check_agreement, read_opset
from trials.training import CHECKPOINT_FILE
from trials.trial_result import ONNX_FILE
from yoloret_nas.export.bundle import RAW_FILE, BundleError, add_sources, new_bundle, write_detector
from yoloret_nas.export.model_card import EXAMPLES_FOLDER, FRONT_FILE, Card, write_card
from yoloret_nas.export.precisions import NUM_CALIBRATION, PRECISIONS, Precision, check_int8, write_precision
from yoloret_nas.export.proof import Proof, prove

_NUM_EXAMPLES = 4
_OWN_FORMAT = {entry.file for name, entry in PRECISIONS.items() if name != "fp32"}


def export_trial(
    opened: ReadStudy,
    summary: Summary,
    record: TrialRecord,
    folder: Path,
    *,
    precisions: Sequence[Precision],
    data: str | None,
    is_checked: bool,
    is_measured: bool,
    replace: bool,
) -> Card:
    """Write an export, whole or not at all.

    Args:
        opened: The study.
        summary: Of the study, with its estimates.
        record: A complete trial of it.
        folder: The export; must not exist unless `replace`.
        precisions: Number formats to write beside FP32.
        data: Images to try it on; None for the study's, on which AP must be the trial's.
        is_checked: Whether it is tried on images.
        is_measured: Whether the latencies of its files are measured on the study's device.
        replace: Whether an existing export is replaced.

    Returns:
        Its figures.

    Raises:
        BundleError: the folder exists, or the trial's checkpoint is gone.
        ExportError: the files cannot be written, or do not compute what the network computes.
        DatasetError: the images cannot be read, or have other classes.
    """
    trial_folder = opened.trial_folder(record.number)
    checkpoint_path, measured_path = trial_folder / CHECKPOINT_FILE, trial_folder / ONNX_FILE
    latency = record.result.latency
    assert latency is not None  # of a complete trial
    with new_bundle(folder, replace=replace) as partial:
        for path in (checkpoint_path, measured_path):
            if not path.is_file():
                raise BundleError(f"the weights of trial {record.number} are gone: {path} does not exist")
        opset = read_opset(measured_path)  # right for the study's device, which need not be at hand
        if "int8" in precisions:
            check_int8(latency.device, opset=opset)
        network, decoding = write_detector(partial, record.architecture, checkpoint_path, opset=opset)
        add_sources(partial, record.architecture, trial_folder)
        check_agreement(network, partial / RAW_FILE, input_size=decoding.input_size)
        splits = _images(opened, data, decoding) if is_checked or "int8" in precisions else {}
        proofs: dict[str, Proof] = {}
        for precision in dict.fromkeys(("fp32", *precisions)):
            entry = PRECISIONS[precision]
            if precision != "fp32":
                write_precision(precision, partial, network, decoding, calibration=splits.get("train", ()), opset=opset)
            if is_checked:
                proofs[entry.file] = prove(
                    partial / entry.file,
                    network,
                    decoding,
                    splits["val"],
                    tolerance=entry.tolerance,
                    split="val",
                    expected_ap=None if data else record.result.ap,
                )
        if is_checked:
            _draw_examples(partial, splits["val"][:_NUM_EXAMPLES])
        title = f"{opened.name} · {opened.device}"
        draw_front(summary, partial / FRONT_FILE, title=title, marked=record.number)
        files = [PRECISIONS[precision].file for precision in dict.fromkeys(("fp32", *precisions))]
        card = Card(
            study=opened.name,
            dataset=opened.dataset,
            record=record,
            estimate=summary.estimates.get(record.number),
            decoding=decoding,
            files=tuple(files),
            proofs=proofs,
            num_calibration=min(NUM_CALIBRATION, len(splits["train"])) if "int8" in precisions else 0,
            latencies=_measure(partial, (RAW_FILE, *files), opened) if is_measured else {},
            opset=opset,
        )
        write_card(partial, card)
    return card


def _images(opened: ReadStudy, data: str | None, decoding: Decoding) -> Mapping[str, Sequence[Sample]]:
    """Return the splits of the images to try the export on."""
    way_out = "name other images with --data, or none with --no-check"
    try:
        dataset = open_dataset(data or opened.dataset, on_broken="skip" if opened.skip_broken else "stop")
        if opened.skip_broken:  # the trial was scored without them
            dataset, _ = check_images(dataset, splits=("train", "val"), skip_broken=True)
    except DatasetError as error:
        hint = f"{error.hint}; or {way_out}" if error.hint else way_out
        raise DatasetError(error.message, hint=hint) from error
    if data is None and opened.fingerprint and dataset.fingerprint != opened.fingerprint:
        raise DatasetError(f"the data of {opened.name} has changed since: {opened.dataset}", hint=way_out)
    if dataset.class_names != decoding.class_names:
        theirs, ours = ", ".join(dataset.class_names), ", ".join(decoding.class_names)
        raise DatasetError(f"{dataset.name} has the classes {theirs}, the detector {ours}", hint=way_out)
    return dataset.splits


def _draw_examples(folder: Path, samples: Sequence[Sample]) -> None:
    detector = run.Detector(str(folder), "onnxruntime")
    (folder / EXAMPLES_FOLDER).mkdir()
    for number, sample in enumerate(samples, start=1):
        image = sample.load()
        picture = run.draw(image, *detector.detect(image), detector.class_names)
        run.write_image(str(folder / EXAMPLES_FOLDER / f"{number}.png"), picture)


def _measure(folder: Path, files: Sequence[str], opened: ReadStudy) -> dict[str, Latency | str]:
    """Measure ONNX files on the study's device; one that is away or restless is no reason to write no export."""
    measured: dict[str, Latency | str] = {}
    with TemporaryDirectory() as temporary, MeasurementLock().shared() as lock:
        cache = LatencyCache(
            Path(temporary) / "latency.db"
        )  # measured anew, also where the study's folder is read-only
        for name in files:
            try:
                with closing(open_device(opened.device, patience_s=0)) as device:
                    if name in _OWN_FORMAT and device.identity().kind != "cpu":
                        measured[name] = f"{device.name} chooses number formats by itself"
                    else:
                        measured[name], _ = measure_quietly(folder / name, device, cache, lock=lock)
            except YoloRetError as error:
                measured[name] = error.message
    return measured
