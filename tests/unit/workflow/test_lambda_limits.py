import pytest

from workflow.lambda_limits import cores, network_mb_per_second, vcpus


@pytest.mark.parametrize(
    ("memory_mb", "n_cores"),
    [(128, 2), (3008, 2), (3009, 3), (5307, 3), (5308, 4), (7076, 4), (7077, 5), (8845, 5), (8846, 6), (10240, 6)],
)
def test_cores_are_at_least_the_vcpus_that_share_them(memory_mb, n_cores):
    assert cores(memory_mb) == n_cores >= vcpus(memory_mb)


@pytest.mark.parametrize(("memory_mb", "mb"), [(640, 75), (2047, 75), (2048, 78.125), (4096, 156.25), (10240, 375)])
def test_the_network_grows_from_2_gb_to_3000_mbit(memory_mb, mb):
    assert network_mb_per_second(memory_mb) == pytest.approx(mb, abs=0.001)


def test_1769_mb_buy_a_vcpu():
    assert vcpus(1769) == 1
