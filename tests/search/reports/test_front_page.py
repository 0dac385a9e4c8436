import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

import search.reports
from search.front.estimate import Estimate
from search.front.record import trial_folder
from search.front.summary import Summary
from search.reports.estimate_words import inherit_words
from search.reports.front_page import write_front_page
from search.reports.picture import draw_front
from search.reports.table import record_rows, write_csv
from tests.search.records import STAIRCASE, record, summary
from tests.search.reports.outline import HOSTILE, Outline, read
from trials.training import CHECKPOINT_FILE
from trials.trial_result import DETECTIONS_FILE


def write(shown: Summary, tmp_path: Path, *, title: str = "study") -> Outline:
    write_front_page(shown, tmp_path / "front.html", title=title, folder=tmp_path / "s")
    return read(tmp_path / "front.html")


def test_the_page_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    outline = write(summary(*STAIRCASE), tmp_path)
    assert outline.unclosed == []
    assert outline.opened.count("script") == 3
    assert outline.addresses == []
    # Whatever Plotly may do: the browser keeps it from the network.
    assert "content=\"default-src 'none';" in (tmp_path / "front.html").read_text(encoding="utf-8")


def test_each_figure_has_its_place(tmp_path: Path) -> None:
    outline = write(summary(*STAIRCASE), tmp_path)
    assert set(outline.data["figures"]) == {"front", "hypervolume"}
    assert {"front", "hypervolume", "selected", "trials"} <= outline.names


def test_the_page_s_parts_are_in_a_wheel() -> None:
    folder = Path(search.reports.__file__).parent
    with (folder.parents[1] / "pyproject.toml").open("rb") as file:
        packed = tomllib.load(file)["tool"]["setuptools"]["package-data"]["search.reports"]
    assert sorted(packed) == sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py")


def test_the_page_holds_every_trial(tmp_path: Path) -> None:
    data = write(summary(*STAIRCASE), tmp_path).data
    trials = {trial["number"]: trial for trial in data["trials"]}
    assert list(trials) == list(range(7))
    assert [number for number, trial in trials.items() if "on the front" in trial["notes"]] == [0, 2, 6]
    assert [number for number, trial in trials.items() if trial["point"] is None] == [1, 5]
    assert trials[2]["point"] == [30.0, 0.4]
    assert ["latency_ms", "30.0"] in trials[2]["figures"]
    assert ["backbone", STAIRCASE[2].architecture.backbone] in trials[2]["axes"]
    assert ["reason", "the loss is nan"] in trials[5]["figures"]
    assert data["selected"] == 2  # the knee
    knee = "the knee of the front, which export takes by default"
    assert [number for number, trial in trials.items() if knee in trial["notes"]] == [2]


def test_a_trained_again_network_is_selected_where_the_figure_draws_it(tmp_path: Path) -> None:
    first = record(0, 0.3, 10.0)
    data = write(summary(first, replace(first, number=1, result=replace(first.result, ap=0.5))), tmp_path).data
    points = {trial["number"]: trial["point"] for trial in data["trials"]}
    assert points == {0: [10.0, 0.3], 1: [10.0, pytest.approx(0.4)]}  # the best seed is on the front, at the mean


def test_a_complete_trial_says_what_to_type_next(tmp_path: Path) -> None:
    (tmp_path / "s" / "trials" / "0003").mkdir(parents=True)
    (tmp_path / "s" / "trials" / "0003" / CHECKPOINT_FILE).touch()
    trials = write(summary(*STAIRCASE), tmp_path).data["trials"]
    here = f"--dir {tmp_path}"
    assert trials[2]["commands"] == [f"yoloret-nas export --study s --trial 2 --refit EPOCHS {here}"]  # none are kept
    assert trials[3]["commands"] == [
        f"yoloret-nas export --study s --trial 3 {here}",
        f"yoloret-nas predict s:3 IMAGE.jpg {here}",
    ]
    assert trials[4]["commands"] == []  # pruned: it has no weights to take away


def test_the_table_needs_no_script(tmp_path: Path) -> None:
    outline = write(summary(*STAIRCASE), tmp_path)
    assert outline.opened.count("tr") == 1 + len(STAIRCASE)
    assert "would miss the front" in outline.text["td"]
    assert outline.text["td"].count("★") == 3
    assert outline.text["td"].count("★ knee") == 1


def test_the_table_begins_with_what_matters_and_has_no_empty_column(tmp_path: Path) -> None:
    write(summary(*STAIRCASE), tmp_path)
    columns = re.findall(r'<th scope="col"><button type="button">(.*?)<', (tmp_path / "front.html").read_text("utf-8"))
    assert columns[:4] == ["trial", "front", "ap", "latency_ms"]
    assert columns[-2:] == ["architecture", "reason"]
    assert "ap_estimate" not in columns  # no trial has one
    write(summary(record(0, 0.2, 10.0)), tmp_path)
    assert ">reason</button>" not in (tmp_path / "front.html").read_text("utf-8")


def test_estimates_are_on_the_page_and_in_the_picture(tmp_path: Path) -> None:
    scored = summary(*STAIRCASE)
    judged = replace(scored, estimates={one.number: Estimate(ap=0.25, std=0.02) for one in STAIRCASE if one.point})
    outline = write(judged, tmp_path)
    trials = outline.data["trials"]
    assert ["ap_estimate", "0.25"] in trials[6]["figures"]
    assert "ap_estimate" not in dict(trials[4]["figures"])
    assert trials[6]["notes"] == ["on the front", "not clearly more accurate than #0, which is faster"]
    assert "Cannot be told apart: #0, #2 and #6." in outline.text["p"]
    draw_front(judged, tmp_path / "judged.png", title="study")
    draw_front(scored, tmp_path / "scored.png", title="study")
    assert (tmp_path / "judged.png").read_bytes() != (tmp_path / "scored.png").read_bytes()


def test_inherited_weights_are_said(tmp_path: Path) -> None:
    shown = summary(record(0, 0.2, 10.0, epochs=3), record(1, 0.3, 20.0, epochs=3, inherited=0.75))
    outline = write(shown, tmp_path)
    assert "1 of 2 trained trials inherited weights" in outline.text["p"]
    assert ["inherited", "0.75"] in outline.data["trials"][1]["figures"]
    assert inherit_words(summary(*STAIRCASE)) == ""


def test_shared_weights_are_said(tmp_path: Path) -> None:
    shown = summary(record(0, 0.2, 10.0, epochs=3, is_from_shared=True), record(1, 0.3, 20.0, epochs=3))
    outline = write(shown, tmp_path)
    assert "Trials began with slices of shared weights (--one-shot)" in outline.text["p"]
    assert "began with its slice of the study's shared weights" in outline.data["trials"][0]["words"]


def test_members_of_the_front_show_their_detections(tmp_path: Path) -> None:
    for number in (0, 3):
        trial_folder(tmp_path / "s", number).mkdir(parents=True)
        Image.new("RGB", (1000, 500), "red").save(trial_folder(tmp_path / "s", number) / DETECTIONS_FILE)
    trial_folder(tmp_path / "s", 6).mkdir()
    (trial_folder(tmp_path / "s", 6) / DETECTIONS_FILE).write_bytes(b"no picture")
    trials = write(summary(*STAIRCASE), tmp_path).data["trials"]
    assert trials[0]["picture"].startswith("data:image/jpeg;base64,")
    assert [trial["number"] for trial in trials if "picture" in trial] == [0]  # 2 has none, 3 is no member
    assert trials[6]["unreadable"].startswith("detections.jpg cannot be read: ")


def test_a_trial_can_be_marked(tmp_path: Path) -> None:
    for marked in (None, summary(*STAIRCASE).front[0].number):
        draw_front(summary(*STAIRCASE), tmp_path / f"{marked}.png", title="study", marked=marked)
    plain, ringed = sorted(tmp_path.iterdir())
    assert plain.read_bytes() != ringed.read_bytes()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    failed = record(0, None, None, state="failed", reason=HOSTILE)
    outline = write(summary(failed), tmp_path, title=HOSTILE)
    assert outline.opened.count("script") == 3
    assert outline.opened.count("b") == 0
    assert outline.text["title"] == outline.text["h1"] == HOSTILE
    assert ["reason", HOSTILE] in outline.data["trials"][0]["figures"]
    assert HOSTILE in outline.text["td"]
    assert "<!--" not in (tmp_path / "front.html").read_text(encoding="utf-8")


def test_an_empty_study_has_a_page_a_picture_and_an_empty_table(tmp_path: Path) -> None:
    data = write(summary(), tmp_path).data
    assert (data["trials"], data["selected"]) == ([], None)
    draw_front(summary(), tmp_path / "front.png", title="study")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    write_csv([], tmp_path / "front.csv")
    assert (tmp_path / "front.csv").read_bytes() == b""


BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_a_browser_draws_the_page_without_an_error(tmp_path: Path) -> None:
    failed = record(0, None, None, state="failed", reason=HOSTILE)
    write(summary(failed, *STAIRCASE[1:]), tmp_path, title=HOSTILE)
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/b",
    )
    page = (tmp_path / "front.html").as_uri()
    ran = subprocess.run(
        [str(BROWSER), *options, "--dump-dom", page], capture_output=True, text=True, timeout=120, check=True
    )
    drawn, _ = ran.stdout.split('<script type="application/json"')  # without what the page was made from
    assert ":CONSOLE:" not in ran.stderr
    assert drawn.count("js-plotly-plot") == 2
    assert "yoloret-nas export --study s --trial 6" in drawn  # the knee is selected


@pytest.mark.parametrize("title", ["cost in $ and $", r"$\frac$ {", "a_b^c %s"])
def test_a_title_is_no_formula(tmp_path: Path, title: str) -> None:
    draw_front(summary(*STAIRCASE), tmp_path / "front.png", title=title)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["front.png"]


def test_the_table_quotes_what_needs_it(tmp_path: Path) -> None:
    failed = record(0, None, None, state="failed", reason='a, "b"\nc')
    write_csv(record_rows([failed], {}), tmp_path / "trials.csv")
    header, rest = (tmp_path / "trials.csv").read_bytes().decode().split("\r\n", 1)
    assert header.startswith(
        "trial,state,ap,ap_estimate,ap_std,ap50,latency_ms,p99_ms,macs_m,params_m,seconds,reason,backbone"
    )
    assert '"a, ""b""\nc"' in rest
