import json
import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import search.reports
from search.reports.front_page import write_front_page
from search.reports.picture import draw_front
from search.reports.table import record_rows, write_csv
from search.study.estimate import Estimate
from tests.search.records import STAIRCASE, record, summary

HOSTILE = "</script><script>alert(1)</script><!--<script> {{title}} {{data}} & \" ' \u2028 é"


class Outline(HTMLParser):
    """The tags of a page and what its script holds; the parser knows, as browsers do, where a script ends."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.opened: list[str] = []
        self.unclosed: list[str] = []
        self.addresses: list[str] = []
        self.text: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag != "meta":
            self.unclosed.append(" ".join((tag, *(value or "" for name, value in attrs if name == "type"))))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop().split()[0] == tag

    def handle_data(self, data: str) -> None:
        if self.unclosed:
            self.text[self.unclosed[-1]] = self.text.get(self.unclosed[-1], "") + data


def read(path: Path) -> Outline:
    outline = Outline()
    outline.feed(path.read_text(encoding="utf-8"))
    outline.close()
    return outline


def embedded(outline: Outline) -> dict:
    return json.loads(outline.text["script application/json"])


def test_the_page_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    write_front_page(summary(*STAIRCASE), tmp_path / "front.html", title="study")
    outline = read(tmp_path / "front.html")
    assert outline.unclosed == []
    assert outline.opened.count("script") == outline.opened.count("svg") == 2
    assert outline.addresses == []
    text = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(|<link|<img", text)


def test_the_page_s_parts_are_in_a_wheel() -> None:
    folder = Path(search.reports.__file__).parent
    with (folder.parents[1] / "pyproject.toml").open("rb") as file:
        packed = tomllib.load(file)["tool"]["setuptools"]["package-data"]["search.reports"]
    assert sorted(packed) == sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".py")


def test_the_page_holds_every_trial_and_the_hypervolume(tmp_path: Path) -> None:
    whole = summary(*STAIRCASE)
    write_front_page(whole, tmp_path / "front.html", title="study")
    data = embedded(read(tmp_path / "front.html"))
    assert [row["trial"] for row in data["rows"]] == list(range(7))
    assert [row["trial"] for row in data["rows"] if row["front"]] == [0, 2, 6]
    assert data["rows"][1]["ap"] is None
    assert data["rows"][5]["latency_ms"] is None
    assert data["hypervolume"] == list(whole.hypervolume_by_trial)


def test_estimates_are_on_the_page_in_the_table_and_in_the_picture(tmp_path: Path) -> None:
    scored = summary(*STAIRCASE)
    judged = replace(scored, estimates={one.number: Estimate(ap=0.25, std=0.02) for one in STAIRCASE if one.point})
    write_front_page(judged, tmp_path / "front.html", title="study")
    rows = {row["trial"]: row for row in embedded(read(tmp_path / "front.html"))["rows"]}
    assert (rows[6]["ap"], rows[6]["ap_estimate"], rows[6]["ap_std"]) == (0.5, 0.25, 0.02)
    assert rows[4]["ap_estimate"] is None
    assert "2 of 3 members are not clearly better" in (tmp_path / "front.html").read_text(encoding="utf-8")
    draw_front(judged, tmp_path / "judged.png", title="study")
    draw_front(scored, tmp_path / "scored.png", title="study")
    assert (tmp_path / "judged.png").read_bytes() != (tmp_path / "scored.png").read_bytes()


def test_a_trial_can_be_marked(tmp_path: Path) -> None:
    for marked in (None, summary(*STAIRCASE).front[0].number):
        draw_front(summary(*STAIRCASE), tmp_path / f"{marked}.png", title="study", marked=marked)
    plain, ringed = sorted(tmp_path.iterdir())
    assert plain.read_bytes() != ringed.read_bytes()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    failed = record(0, None, None, state="failed", reason=HOSTILE)
    write_front_page(summary(failed), tmp_path / "front.html", title=HOSTILE)
    outline = read(tmp_path / "front.html")
    assert outline.opened.count("script") == 2
    assert outline.text["title"] == outline.text["h1"] == HOSTILE
    assert embedded(outline)["rows"][0]["reason"] == HOSTILE
    assert "<!--" not in (tmp_path / "front.html").read_text(encoding="utf-8")


def test_an_empty_study_has_a_page_a_picture_and_an_empty_table(tmp_path: Path) -> None:
    write_front_page(summary(), tmp_path / "front.html", title="study")
    assert embedded(read(tmp_path / "front.html")) == {"rows": [], "hypervolume": []}
    draw_front(summary(), tmp_path / "front.png", title="study")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    write_csv([], tmp_path / "front.csv")
    assert (tmp_path / "front.csv").read_bytes() == b""


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
