from importlib.metadata import version

from search.tracking.package_versions import as_requirements, describe_versions


def test_what_is_not_installed_as_a_package_is_said_and_no_error() -> None:
    """A search from a source tree ended here."""
    assert (
        describe_versions(("torch", "no-such-package")) == f"torch {version('torch')}, no-such-package (not installed)"
    )
    assert as_requirements(("torch", "no-such-package")) == [f"torch=={version('torch')}", "no-such-package"]
