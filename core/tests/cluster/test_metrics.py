from __future__ import annotations

from virtfn.cluster.metrics import PrometheusMeter


def test_series_are_named_for_what_is_counted() -> None:
    meter = PrometheusMeter()
    meter.count("writes", of="nodes")
    meter.count("writes", of="nodes", amount=2)
    meter.count("writes", of="pods")
    meter.level("in_sync", 1, of="n1")
    meter.level("in_sync", 0, of="n1")
    meter.seconds("turns", 0.3, of="drain")
    lines = meter.text().decode().splitlines()
    assert 'virtfn_writes_total{of="nodes"} 3.0' in lines
    assert 'virtfn_writes_total{of="pods"} 1.0' in lines
    assert 'virtfn_in_sync{of="n1"} 0.0' in lines
    assert 'virtfn_turns_seconds_count{of="drain"} 1.0' in lines
    assert 'virtfn_turns_seconds_bucket{le="0.25",of="drain"} 0.0' in lines
    assert 'virtfn_turns_seconds_bucket{le="0.5",of="drain"} 1.0' in lines


def test_every_series_has_words_for_people() -> None:
    meter = PrometheusMeter()
    meter.count("writes")
    meter.count("queue_adds")
    text = meter.text().decode()
    assert "# HELP virtfn_writes_total Writes to the API server, by kind." in text
    assert "# HELP virtfn_queue_adds_total Queue adds." in text


def test_two_meters_share_nothing() -> None:
    one, other = PrometheusMeter(), PrometheusMeter()
    one.count("writes")
    other.count("writes")
    assert 'virtfn_writes_total{of=""} 1.0' in one.text().decode()
