"""What the Lambda benchmark makes of its measurements, by hand; that it runs is in tests/integration/test_lambda_sizes.py."""

from dataclasses import replace

import pytest

from benchmarks.cases import Case
from benchmarks.lambda_figures import (
    Figures,
    Invocation,
    burst_seconds,
    cheapest,
    error_of_reckoning,
    fastest,
    reckoned,
    stretched,
    targets,
)
from benchmarks.lambda_sizes import cores
from workflow.lambda_limits import vcpus

RIDGE = Case("a", "ridge")
# 300 MB at 75 MB/s are 4 s, of which none is waited for the processor (2 s); then 1 s of upload, and 0.5 s of waits.
WARM = Invocation(seconds=5.5, processor_seconds=2.0, main_thread_seconds=0.5, upload_seconds=1.0)
COLD = Invocation(seconds=7.0, processor_seconds=3.0, main_thread_seconds=1.5, upload_seconds=1.0)
BASE = Figures(
    RIDGE, 256, 1769, is_measured=True, bytes_in=300_000_000, bytes_out=330_000_000, puts=9, gets=4,
    peak_bytes=500_000_000, other_cores=0.0, cold=COLD, warm=WARM,
)  # fmt: skip


def test_the_bound_is_the_slowest_of_download_upload_and_compute():
    assert BASE.bound_seconds == 330 / 75
    assert BASE.times_bound == 5.5 / 4.4
    assert replace(BASE, bytes_out=1).bound_seconds == 4
    assert replace(BASE, warm=WARM._replace(processor_seconds=9)).bound_seconds == 9


def test_more_memory_has_a_faster_network_and_no_fewer_waits():
    found = reckoned(BASE, 10_240)
    # 300 MB at 375 MB/s, the waits, a fifth of the upload; then a second of start, and the 0.5 s that it waited beside that.
    assert found.warm.seconds == pytest.approx(300 / 375 + 0.5 + 0.2)
    assert found.cold.seconds == pytest.approx(300 / 375 + 0.5 + 0.2 + 1 + 0.5)
    assert not found.is_measured


def test_less_memory_is_bound_by_its_processors_and_more_by_the_main_thread():
    found = reckoned(BASE, 512)
    assert found.warm.seconds == pytest.approx(2.0 * 1769 / 512 + 0.5 + 1.0)
    assert found.cold.seconds == pytest.approx(found.warm.seconds + 1769 / 512 + 0.5)
    one_thread = replace(BASE, warm=WARM._replace(processor_seconds=4, main_thread_seconds=4))
    assert reckoned(one_thread, 10_240).warm.seconds == pytest.approx(4 + 0.5 + 0.2)


def test_the_reckoning_agrees_with_what_it_is_made_of_and_says_how_far_off_it_is():
    assert reckoned(BASE, 1769) == replace(BASE, is_measured=False)
    slower = replace(reckoned(BASE, 2688), is_measured=True)
    assert error_of_reckoning([slower, BASE]) == 0
    slower = replace(slower, warm=slower.warm._replace(seconds=2 * slower.warm.seconds))
    assert error_of_reckoning([slower, BASE]) == pytest.approx(0.5)


def test_a_tb_pays_memory_requests_and_transitions_and_100_cold_starts():
    # A GB-second at 0.0000133334, a request at 0.0000002, two transitions at 0.000025, ten PUTs and six GETs.
    chunks = 1e12 / 300e6
    warm, cold = (seconds * 1769 / 1024 * 0.0000133334 + 0.2e-6 for seconds in (5.5, 7.0))
    requests, states = 10 * 0.005e-3 + 6 * 0.0004e-3, 2 * 0.025e-3
    assert BASE.tb_dollars == pytest.approx((100 * cold + (chunks - 100) * warm, chunks * requests, chunks * states))
    assert BASE.dollars_per_tb == pytest.approx(sum(BASE.tb_dollars))


def test_the_cheapest_size_is_one_that_the_peak_memory_fits_into():
    sizes = [reckoned(BASE, memory) for memory in (512, 768, 7076, 9900, 10_240)]
    assert min(sizes, key=lambda found: found.dollars_per_tb).memory_mb == 512
    assert cheapest(sizes).memory_mb == 768
    assert fastest(sizes).memory_mb == 9900  # 10,240 has the same network, and costs more
    assert cheapest(sizes[:1]) is fastest(sizes[:1]) is None


def test_a_larger_chunk_lies_on_the_line_through_two():
    small = replace(BASE, bytes_in=100_000_000, bytes_out=0, puts=1, warm=BASE.warm._replace(seconds=1.5))
    larger = stretched(small, BASE, 500e6)
    assert (larger.bytes_in, larger.bytes_out, larger.puts) == (500_000_000, 2 * BASE.bytes_out, 2 * BASE.puts - 1)
    assert larger.warm.seconds == pytest.approx(1.5 + 2 * 4)
    assert larger.cold == pytest.approx(BASE.cold)
    assert not larger.is_measured


def test_10_gb_are_a_wave_of_100_cold_chunks():
    small = replace(BASE, chunk_mb=64, bytes_in=50_000_000, cold=COLD._replace(seconds=3.0))
    # A state's start takes 0.3 s and 0.25 processor seconds; then 5, 10 and 21 requests of 30 ms, and 2 ms for each chunk.
    validate, plan, merge = 0.55 + 0.15, 0.55 + 0.3 + 0.202, 0.55 + 0.63 + 0.2
    # The chunk of 100 MB takes 3 s and a fifth of the 4 s between the two, after the start of its container; its part has 330 MB.
    probe, chunk, copies = 0.3 + 1.3 + 0.15, 0.3 + 3.8, 2.7 + 330 / 80
    assert burst_seconds(small, BASE) == pytest.approx(validate + probe + plan + 1 + chunk + merge + copies)


def test_targets_are_of_what_was_measured():
    small = replace(BASE, chunk_mb=64, bytes_in=75_000_000, peak_bytes=250_000_000)
    sizes = (BASE, small, replace(reckoned(BASE, 512), peak_bytes=10**9), reckoned(BASE, 10_240))
    found = {target.measure: target for target in targets({figures.size: figures for figures in sizes}, 256, 64)}
    assert found["warm invocation against its bound, worst"].value == 1.25
    assert found["warm invocation against its bound, worst"].is_met is False
    # Both chunks take the same time and requests here, and so would a larger one.
    larger = replace(BASE, bytes_in=512_000_000).dollars_per_tb
    assert found["a TB in chunks of 512 MB at the cheapest size, a ridge (1,769 MB)"].value == pytest.approx(larger)
    assert found["whole invocation, a ridge"].value == 150
    assert found["largest peak memory through S3"].value == 500
    assert found["its spread over chunk sizes, worst"].value == pytest.approx(100 * 250 / 750)
    assert found["whole invocation, b ridge"].is_met is None


@pytest.mark.parametrize(
    ("memory_mb", "n_cores"),
    [(128, 2), (3008, 2), (3009, 3), (5307, 3), (5308, 4), (7076, 4), (7077, 5), (8845, 5), (8846, 6), (10240, 6)],
)
def test_cores_are_at_least_the_vcpus_that_share_them(memory_mb, n_cores):
    assert cores(memory_mb) == n_cores >= vcpus(memory_mb)
