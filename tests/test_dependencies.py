"""Bounds that mean something: lower bounds that are tested, pins that they admit, and no version with a known fault."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADVISORIES = yaml.safe_load((ROOT / "advisories.yaml").read_text(encoding="utf-8"))
TESTED_WITH_THE_OLDEST = ("cluster",)
"""Extras whose lower bound is run, beside the dependencies without an extra."""


def requirements(*extras: str) -> dict[str, Requirement]:
    texts = [*PROJECT["dependencies"], *(text for e in extras for text in PROJECT["optional-dependencies"][e])]
    found: dict[str, Requirement] = {}
    for requirement in (Requirement(text) for text in texts if not text.startswith("yoloret-nas[")):
        name = canonicalize_name(requirement.name)
        if name in found:  # an extra may ask for more of a dependency
            requirement.specifier &= found[name].specifier
        found[name] = requirement
    return found


def pins(file: str) -> dict[str, Version]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = (part.version for part in requirement.specifier if part.operator == ">=")
    return Version(bound)


def admitted_and_affected(
    advisory: dict[str, Any], *, requirement: Requirement, pinned: list[Version]
) -> Iterator[str]:
    """The affected versions among the bounds and the pins; the ends of the advisory's ranges stand for those between."""
    ranges = [SpecifierSet(text) for text in advisory["affected"]]
    ends = [Version(part.version) for a_range in ranges for part in a_range]
    admitted = [v for v in ends if requirement.specifier.contains(v, prereleases=True)]
    for version in {lower_bound(requirement), *pinned, *admitted}:
        if any(a_range.contains(version, prereleases=True) for a_range in ranges):
            yield str(version)


ALL = requirements(*PROJECT["optional-dependencies"])


def test_the_oldest_set_is_that_of_the_lower_bounds() -> None:
    bounds = {name: lower_bound(found) for name, found in requirements(*TESTED_WITH_THE_OLDEST).items()}
    assert pins("constraints-oldest.txt") == bounds


def test_the_newest_set_is_admitted() -> None:
    for name, version in pins("constraints.txt").items():
        assert name not in ALL or ALL[name].specifier.contains(version), (
            f"{name} {version} is not {ALL[name].specifier}"
        )


@pytest.mark.parametrize("name", requirements())
def test_the_newest_set_pins_every_dependency(name: str) -> None:
    assert name in pins("constraints.txt")


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda advisory: advisory["id"])
def test_no_version_with_a_known_fault_is_admitted_without_a_reason(advisory: dict[str, Any]) -> None:
    name = advisory["package"]
    pinned = [pins(file)[name] for file in ("constraints.txt", "constraints-oldest.txt")]
    found = sorted(admitted_and_affected(advisory, requirement=ALL[name], pinned=pinned))
    if "accepted" in advisory:
        assert found, f"{advisory['id']}: nothing in its range is admitted any more: take `accepted` out"
    else:
        assert not found, f"{advisory['id']} affects {name} {', '.join(found)}: {advisory['means']}"


def test_an_excluded_version_within_the_bounds_is_found() -> None:
    malware = {"affected": ["==2.6.2", "==2.6.3"]}
    since = Requirement("lightning>=2.6.0,!=2.6.2")
    assert list(admitted_and_affected(malware, requirement=since, pinned=[])) == ["2.6.3"]
    assert not list(admitted_and_affected(malware, requirement=Requirement("lightning>=2.6.4"), pinned=[]))


def test_both_sets_are_of_dependencies_only_and_without_addresses() -> None:
    for file in ("constraints.txt", "constraints-oldest.txt"):
        lines = [line for line in (ROOT / file).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
