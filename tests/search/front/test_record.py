"""What a run's records say together."""

from search.front.record import first_latencies
from tests.search.driver.scripted import latency
from tests.search.records import record


def test_the_first_latency_of_each_device_counts_wherever_it_came_from() -> None:
    """One from the cache is on the scale that the run's first trials are compared on."""
    failed, cached = record(0, None, None, state="failed"), record(1, 0.3, 20.0, is_latency_cached=True)
    timed = record(2, 0.4, 30.0, also={"cuda": latency(3.0)})
    later = record(3, 0.5, 40.0, also={"cuda": latency(4.0), "ssh://nano": latency(50.0)})
    assert first_latencies([failed, cached, timed, later], "cpu") == {
        "cpu": latency(20.0),
        "cuda": latency(3.0),
        "ssh://nano": latency(50.0),
    }
    assert first_latencies([], "cpu") == {}
