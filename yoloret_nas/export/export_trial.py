"""Exports a trial: the detector, tried on images and measured, with its figures and pictures."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from search.front.record import TrialRecord
from search.front.summary import Summary
from search.reports.picture import draw_front
from search.study.read_study import ReadStudy
from search.study.refit import retrained_trial
from spaces.counted import counted
from spaces.errors import printable
from spaces.networks import YoloReT
from trials.data import Dataset, DatasetError, Sample, open_dataset
from trials.data.dataset import spread
from trials.data.image_check import check_images
from trials.detections import Decoding
from trials.onnx import run
from trials.onnx.export import DEFAULT_OPSET, check_agreement, read_opset
from trials.onnx.openvino_model import import_openvino, write_openvino
from trials.onnx.suppressed import Suppression, add_efficient_nms, add_suppression
from trials.scoring import label_as_network
from trials.training import CHECKPOINT_FILE
from trials.trial_result import ONNX_FILE
from yoloret_nas.export.bundle import (
    EFFICIENT_NMS_FILE,
    NMS_FILE,
    RAW_FILE,
    BundleError,
    add_sources,
    check_free,
    clear_up,
    new_bundle,
    write_detector,
)
from yoloret_nas.export.engine_proof import EngineProof, prove_engines
from yoloret_nas.export.export_options import ExportOptions
from yoloret_nas.export.model_card import EXAMPLES_FOLDER, FRONT_FILE, Card, write_card
from yoloret_nas.export.precisions import NUM_CALIBRATION, PRECISIONS, Precision, write_precision
from yoloret_nas.export.proof import Proof, Tolerance, prove, prove_suppression
from yoloret_nas.export.target import Target, build_and_measure, find_target
from yoloret_nas.options.data import fetch_data, showing_check
from yoloret_nas.options.values import why_not_writable
from yoloret_nas.terminal.console import progress_console

_NUM_EXAMPLES = 4


def export_trial(
    opened: ReadStudy,
    summary: Summary,
    record: TrialRecord,
    folder: Path,
    options: ExportOptions = ExportOptions(),  # noqa: B008  # frozen
) -> Card:
    """Write an export, whole or not at all.

    Args:
        opened: The study.
        summary: Of the study, with its estimates.
        record: A complete trial of it.
        folder: The export; must not exist unless `options.replace`.
        options: What it holds, and what it is tried on.

    Returns:
        Its figures.

    Raises:
        BundleError: the folder exists, the trial's checkpoint is gone, or the device lacks what the options ask for.
        DeviceError: the device that the options name cannot be reached, or builds no engine.
        ExportError: the files cannot be written, or do not compute what the network computes.
        DatasetError: the images cannot be read, or have a class that the network does not know.
    """
    trial_folder = opened.trial_folder(record.number)
    checkpoint_path, measured_path = trial_folder / CHECKPOINT_FILE, trial_folder / ONNX_FILE
    latency = record.result.latency
    assert latency is not None  # of a complete trial
    with new_bundle(folder, replace=options.replace) as partial:
        for path in (checkpoint_path, measured_path):
            if not path.is_file():
                raise BundleError(
                    f"the weights of trial {record.number} of {opened.name} are not kept: {path} does not exist",
                    hint="train it again, with the same command and --refit EPOCHS; "
                    "a search keeps the weights of its front, with --keep all those of all trials",
                )
        target = find_target(options, device=opened.device, identity=latency.device, opset=read_opset(measured_path))
        network, decoding = write_detector(partial, record.architecture, checkpoint_path, opset=target.opset)
        add_sources(partial, record.architecture, trial_folder, network=network, opset=target.opset)
        check_agreement(network, partial / RAW_FILE, input_hw=decoding.input_hw)
        needs_images = options.is_checked or "int8" in options.precisions
        scored_on = record.result.fingerprint or opened.fingerprint
        known = {scored_on, opened.fingerprint}
        dataset = _open_images(opened, options, decoding, known=known) if needs_images else None
        other_data = None
        if dataset and scored_on and dataset.fingerprint != scored_on:
            other_data = printable(options.data or f"{opened.dataset} as it is since the trial")
        splits: Mapping[str, Sequence[Sample]] = dataset.splits if dataset else {}
        precisions: tuple[Precision, ...] = tuple(dict.fromkeys(("fp32", *options.precisions)))
        files = _write_files(
            partial, network, decoding, options, target, precisions=precisions, calibration=splits.get("train", ())
        )
        if options.suppression is not None:
            add = add_efficient_nms if target.suppressed_file == EFFICIENT_NMS_FILE else add_suppression
            add(partial / ONNX_FILE, partial / target.suppressed_file, options.suppression)
        proofs: dict[str, Proof] = {}
        if options.is_checked:
            for name, tolerance in files.items():
                proofs[name] = prove(
                    partial / name,
                    network,
                    decoding,
                    splits["val"],
                    tolerance=tolerance,
                    split="val",
                    expected_ap=record.result.ap if other_data is None else None,
                )
            if options.suppression is not None and target.suppressed_file == NMS_FILE:  # ONNX Runtime runs no plugin
                prove_suppression(partial / NMS_FILE, options.suppression, splits["val"], split="val")
            _draw_examples(partial, spread(splits["val"], _NUM_EXAMPLES))
        if sum(one.point is not None for one in summary.records) > 1:  # one network alone has no front to stand on
            title = f"{opened.name} · {opened.device}"
            draw_front(summary, partial / FRONT_FILE, title=title, marked=record.number)
        suppressed = (NMS_FILE,) if target.suppressed_file == NMS_FILE else ()
        latencies = build_and_measure(
            partial,
            target,
            (RAW_FILE, *files, *suppressed),
            precisions=precisions,
            network=network,
            decoding=decoding,
            searched=latency,
            is_measured=options.is_measured,
        )
        engine_proofs: dict[str, EngineProof | str] = {}
        if target.has_engines and options.is_checked:
            engine_proofs = prove_engines(partial, target.device, splits["val"], options.suppression or Suppression())
        card = Card(
            study=opened.name,
            dataset=opened.dataset,
            record=record,
            retrains=None if opened.train else retrained_trial(opened.name, record.label),
            estimate=summary.estimates.get(record.number),
            decoding=decoding,
            files=tuple(files),
            suppression=options.suppression,
            proofs=proofs,
            other_data=other_data,
            num_calibration=min(NUM_CALIBRATION, len(splits["train"])) if "int8" in precisions else 0,
            target=target,
            latencies=latencies,
            engine_proofs=engine_proofs,
            engines=tuple(sorted(path.name for path in partial.glob("*.engine"))),
        )
        write_card(partial, card)
    return card


def check_export(opened: ReadStudy, record: TrialRecord, folder: Path, options: ExportOptions) -> None:
    """Refuse what can be refused before a trial's architecture is trained in full; arguments as for `export_trial`.

    Raises:
        BundleError: the folder exists or cannot be made, or the device lacks what the options ask for.
        DeviceError: the device that the options name cannot be reached.
        ExportError: OpenVINO is not installed.
    """
    latency, measured_path = record.result.latency, opened.trial_folder(record.number) / ONNX_FILE
    assert latency is not None  # of a complete trial
    clear_up(folder)
    check_free(folder, replace=options.replace)
    if reason := why_not_writable(folder.resolve().parent):
        raise BundleError(f"an export cannot be written to {folder}: {reason}", hint="choose another folder with --out")
    opset = read_opset(measured_path) if measured_path.is_file() else DEFAULT_OPSET  # its weights may not be kept
    find_target(options, device=opened.device, identity=latency.device, opset=opset)
    if "openvino" in options.formats:
        import_openvino()


def _write_files(
    folder: Path,
    network: YoloReT,
    decoding: Decoding,
    options: ExportOptions,
    target: Target,
    *,
    precisions: Sequence[Precision],
    calibration: Sequence[Sample],
) -> dict[str, Tolerance]:
    """Write the files with boxes and scores other than ``model.onnx``; return all of them with how far they may differ."""
    files = {}
    for precision in precisions:
        entry = PRECISIONS[precision]
        if precision != "fp32":
            click.echo(f"writing {entry.file}", err=True)
            write_precision(precision, folder, network, decoding, calibration=calibration, opset=target.opset)
        files[entry.file] = entry.tolerance
    if "openvino" in options.formats:
        for name, tolerance in list(files.items()):
            converted = (folder / name).with_suffix(".xml")
            write_openvino(folder / name, converted)
            files[converted.name] = tolerance
    return files


def _open_images(opened: ReadStudy, options: ExportOptions, decoding: Decoding, *, known: Collection[str]) -> Dataset:
    """Return the images to try the export on, and to calibrate INT8 with; the study's have one of the known fingerprints."""
    way_out = "name them where they are now, or others, with --data, or none with --no-check"
    if "int8" in options.precisions:  # which takes images, whether it is tried or not
        way_out = "name them where they are now, or others, with --data, or leave int8 out of --precision"
        way_out += " and add --no-check" if options.is_checked else ""
    skips = opened.skip_broken or options.skip_broken
    data = options.data or opened.dataset
    try:
        fetch_data(data, progress_console())
        dataset = open_dataset(data, on_broken="skip" if skips else "stop")
        if skips:  # the trial was scored without them
            with showing_check(progress_console()) as report:
                dataset = check_images(dataset, splits=("train", "val"), skip_broken=True, report=report).dataset
        if options.is_checked and not any(sample.has_object for sample in dataset.splits["val"]):
            num_images = counted(len(dataset.splits["val"]), "image(s)")
            raise DatasetError(f"{dataset.name}: its val split has {num_images} and no object to find")
    except DatasetError as error:
        hint = f"{error.hint}; or {way_out}" if error.hint else way_out
        raise DatasetError(error.message, hint=hint) from error
    if options.data is None and opened.fingerprint and dataset.fingerprint not in known:
        raise DatasetError(f"the data of {opened.name} has changed since: {opened.dataset}", hint=way_out)
    if dataset.class_names == decoding.class_names:
        return dataset
    try:
        splits = {
            split: tuple(label_as_network(dataset, split, decoding.class_names, name="the detector"))
            for split in dataset.splits
        }
    except DatasetError as error:
        raise DatasetError(error.message, hint=f"{error.hint}; or {way_out}") from error
    return replace(dataset, splits=splits, class_names=decoding.class_names)


def _draw_examples(folder: Path, samples: Sequence[Sample]) -> None:
    detector = run.Detector(str(folder), "onnxruntime", providers=run.CPU)
    (folder / EXAMPLES_FOLDER).mkdir()
    for number, sample in enumerate(samples, start=1):
        image = sample.load()
        picture = run.draw(image, *detector.detect(image), detector.class_names)
        run.write_image(str(folder / EXAMPLES_FOLDER / f"{number}.png"), picture)
