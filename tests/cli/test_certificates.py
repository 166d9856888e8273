import pytest

from ebpf_net.cli.certificates import check_certificate
from ebpf_net.errors import SettingError
from ebpf_net.settings import REDUCER, load


def settings(*arguments):
    return load(REDUCER, arguments, environment={})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--intake-key", "/k"), "--intake-key needs --intake-certificate"),
        (("--intake-certificate", "/c"), "--intake-certificate needs --intake-key"),
    ],
)
def test_half_a_pair_is_one_clear_error(arguments, message):
    with pytest.raises(SettingError) as caught:
        check_certificate(settings(*arguments))
    assert str(caught.value) == message


def test_both_or_neither_are_right():
    check_certificate(settings())
    check_certificate(settings("--intake-key", "/k", "--intake-certificate", "/c"))
