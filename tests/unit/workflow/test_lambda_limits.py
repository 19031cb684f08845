import pytest

from workflow.lambda_limits import network_mb_per_second, vcpus


@pytest.mark.parametrize(("memory_mb", "mb"), [(640, 75), (2047, 75), (2048, 78.125), (4096, 156.25), (10240, 375)])
def test_the_network_grows_from_2_gb_to_3000_mbit(memory_mb, mb):
    assert network_mb_per_second(memory_mb) == pytest.approx(mb, abs=0.001)


def test_1769_mb_buy_a_vcpu():
    assert vcpus(1769) == 1
