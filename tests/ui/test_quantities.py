import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpf_net.ui.quantities import (
    COUNT_WIDTH,
    DURATION_WIDTH,
    QUANTITY_WIDTH,
    format_count,
    format_duration,
    format_quantity,
    format_share,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (0.04, "<0.1"),
        (0.5, "0.5"),
        (3, "3"),
        (9.96, "10"),
        (999.4, "999"),
        (999.5, "1.00k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (98_765_432, "98.8M"),
        (10**20, "100E"),
    ],
)
def test_quantity_has_three_digits_and_a_prefix(value, expected):
    assert format_quantity(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (9_999, "9999"), (10_000, "10k"), (999_500, "1.0M"), (2**63, "9.2E")],
)
def test_count_is_exact_to_four_digits(value, expected):
    assert format_count(value) == expected


@pytest.mark.parametrize(
    ("us", "expected"),
    [
        (0.4, "0µs"),
        (340, "340µs"),
        (999.5, "1.00ms"),
        (12_345, "12.3ms"),
        (1_500_000, "1.50s"),
        (120_000_000, "120s"),
        (5_000_000_000, "5000s"),
        (500_000_000_000, ">1day"),
    ],
)
def test_duration_has_three_digits_and_a_unit(us, expected):
    assert format_duration(us) == expected


@given(st.floats(0, 1e19))
def test_numbers_fit_their_columns(value):
    assert len(format_quantity(value)) <= QUANTITY_WIDTH
    assert len(format_count(value)) <= COUNT_WIDTH
    assert len(format_duration(value)) <= DURATION_WIDTH


@pytest.mark.parametrize(
    ("part", "whole", "expected"),
    [
        (0, 0, "0 %"),
        (0, 5, "0 %"),
        (1, 10_000, "<0.1 %"),
        (3, 100, "3 %"),
        (9_999, 10_000, "99.9 %"),
        (5, 5, "100 %"),
    ],
)
def test_share_is_not_rounded_to_nothing_or_all(part, whole, expected):
    assert format_share(part, whole) == expected
