import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from search.front.record import TrialRecord
from tests.search.records import record
from trials.detections import Decoding
from yoloret_nas.export.model_card import Card, describe_start, short_number, write_card
from yoloret_nas.export.target import Target


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (21.4, "20"), (3.1, "3"), (0.26, "0.3"), (0.00042, "0.0004"), (4e-6, "0.000004")]
)
def test_a_difference_has_one_digit_and_no_exponent(value: float, text: str) -> None:
    assert short_number(value) == text


def test_the_card_says_where_weights_came_from() -> None:
    assert describe_start(record(0, 0.3, 5.0)) == "The weights began at random."
    inherited = describe_start(record(0, 0.3, 5.0, inherited=0.459))
    assert inherited == (
        "46% of the values began with the weights of another trial of the study. The others began at random."
    )


def test_the_card_says_that_weights_were_shared() -> None:
    said = describe_start(record(0, 0.3, 5.0, is_from_shared=True))
    assert said == "The values began with this network's slice of the study's shared weights (`--one-shot`)."


def make_card(trial: TrialRecord, *class_names: str) -> Card:
    assert trial.result.latency is not None
    target = Target(device="cpu", identity=trial.result.latency.device, opset=17, has_engines=False)
    decoding = Decoding(anchors=(), coding="bounded", class_names=class_names, input_hw=(64, 64))
    return Card(
        study="s",
        dataset="cells",
        record=trial,
        estimate=None,
        decoding=decoding,
        files=("model.onnx",),
        suppression=None,
        proofs={},
        num_calibration=0,
        latencies={},
        target=target,
        engines=(),
        engine_proofs={},
    )


def test_a_card_of_one_epoch_and_of_several(tmp_path: Path) -> None:
    card = make_card(record(3, 0.3, 5.0), "cell")
    for epochs, words in ((1, "1 epoch"), (2, "2 epochs")):
        trial = replace(card.record, result=replace(card.record.result, epochs=epochs))
        assert replace(card, record=trial).title == "s, trial 3"
        again = replace(card, record=trial, retrains=("cells", 7))
        assert again.title == f"cells, trial 7, trained again for {words}"
        write_card(tmp_path, again)
        assert f"Trained on `cells` for {words}, as trial 3 of `s`." in (tmp_path / "README.md").read_text(
            encoding="utf-8"
        )


def test_a_class_s_name_is_shown_as_it_is_and_breaks_no_table(tmp_path: Path) -> None:
    strange = "x\ny | <b>z & co"
    card = make_card(record(0, 0.3, 5.0, per_class_ap={strange: 0.5}), strange, "cell")
    for name in ("model.onnx", "run.py", "model.xml", "model-fp16.xml"):
        (tmp_path / name).touch()
    write_card(tmp_path, card)
    text, shown = (tmp_path / "README.md").read_text(encoding="utf-8"), "x y &#124; &lt;b&gt;z &amp; co"
    assert f"\n| AP of each class | {shown} 0.500 |\n" in text
    assert f"A detector of {shown}, cell, found" in text
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["per_class_ap"] == {strange: 0.5}
    files = text.partition("## Files\n")[2].partition("\n\n")[0]
    assert re.findall(r"^- `([\w.-]+)`(?:, `([\w.-]+)`)?: ", files, re.MULTILINE) == [
        ("model.onnx", ""),
        ("model-fp16.xml", "model.xml"),
        ("run.py", ""),
        ("metrics.json", ""),
    ]  # those that are there
