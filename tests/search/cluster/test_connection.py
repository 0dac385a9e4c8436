"""A connection that a cluster refuses, or that is lost, without a cluster."""

import grpc
import pytest

from spaces import YoloRetError

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed")

from search.cluster.connection import ClusterError, connected, named_losses  # noqa: E402
from trials.latency import DeviceAwayError  # noqa: E402


def test_a_token_that_a_cluster_refuses_is_an_error_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []

    def refuse(address: str, **_: object) -> None:
        raise ray.exceptions.AuthenticationError("Token authentication is enabled but no token was found")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: ended.append(True))
    with (
        pytest.raises(ClusterError, match="no Ray cluster at 'local': Token authentication is") as no,
        connected("local"),
    ):
        pass
    assert "~/.ray/auth_token" in no.value.hint
    assert ended == [True]


class Refusal(grpc.RpcError):
    def details(self) -> str:
        return "failed to connect to all addresses"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionError("Client is shutting down."), "Client is shutting down"),
        (ConnectionError(), "ConnectionError"),
        (Refusal(), "failed to connect to all addresses"),
        (ray.exceptions.RaySystemError("it fell"), "System error: it fell"),
    ],
)
@pytest.mark.parametrize("kind", [ClusterError, DeviceAwayError])
def test_a_lost_connection_is_told_as_one(kind: type[YoloRetError], error: Exception, words: str) -> None:
    with pytest.raises(kind, match=f"^the connection to the cluster is lost: {words}") as lost, named_losses(kind):
        raise error
    assert lost.value.hint.endswith("run the same command again: it resumes")


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(ValueError, match="a fault of the program"), named_losses():
        raise ValueError("a fault of the program")
