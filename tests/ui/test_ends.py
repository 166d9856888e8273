import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from ebpf_net.testing.windows import make_level
from ebpf_net.ui.ends import End, end_names

WEB = End("shop-web", "nginx", "node-1", "10.1.2.3")


def names_of(**labels):
    node = {label.replace("_", "."): value for label, value in labels.items()}
    return end_names(make_level([node], []).nodes)


@pytest.mark.parametrize(
    ("width", "show_host", "expected"),
    [
        (40, True, ("shop-web (nginx)", "node-1 10.1.2.3")),
        (31, True, ("shop-web (nginx)", "node-1")),
        (25, False, ("shop-web (nginx)", "10.1.2.3")),
        (20, False, ("shop-web", "10.1.2.3")),
        (17, False, ("shop-web", "10.1.2.3")),
        (16, False, ("shop-web", "….1.2.3")),
        (12, False, ("shop-web", "….3")),
        (10, False, ("shop-web", "")),
        (5, False, ("shop…", "")),
    ],
)
def test_what_does_not_fit_is_left_out_in_order(width, show_host, expected):
    assert WEB.fit(width, show_host=show_host) == expected


def test_an_address_is_cut_at_its_start():
    end = End("", "", "", "2606:4700:20::681a:804")
    assert end.fit(12, show_host=True) == ("", "…0::681a:804")


@given(st.text(), st.text(), st.integers(1, 60), st.booleans())
def test_an_end_never_takes_more_than_its_width(name, place, width, show_host):
    shown = End(name, name, place, place).fit(width, show_host=show_host)
    assert sum(map(cell_len, shown)) + all(shown) <= width


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            {"container_name": "c", "workload_name": "w", "process_name": "p",
             "id": "h", "ip": "1.2.3.4"},
            End("c", "p", "h", "1.2.3.4"),
        ),
        (
            {"workload_name": "sshd", "process_name": "sshd", "id": "h",
             "ip": "1.2.3.4"},
            End("sshd", "", "h", "1.2.3.4"),
        ),
        (
            {"workload_name": "(unknown)", "process_name": "(unknown)",
             "id": "1.2.3.4", "ip": "1.2.3.4"},
            End("", "", "", "1.2.3.4"),
        ),
        ({"workload_name": "DNS", "id": "1.2.3.4"}, End("DNS", "", "", "1.2.3.4")),
        ({"process_name": "a\x1bb", "ip": "::1"}, End("a\\x1bb", "", "", "::1")),
    ],
)  # fmt: skip
def test_an_end_is_named_by_container_then_service_then_process(labels, expected):
    assert names_of(**labels).ends([0]) == [expected]


def test_full_name_has_all_that_is_known():
    names = names_of(container_name="c  x", process_name="p", id="h", ip="1.2.3.4")
    assert names.full().to_pylist() == ["c x (p) h 1.2.3.4"]
    assert names_of(ip="1.2.3.4").full().to_pylist() == ["1.2.3.4"]


def test_hosts_tell_ends_apart_from_the_second_on():
    one = {"process.name": "p", "id": "h1", "ip": "1.2.3.4"}
    other = {**one, "id": "h2"}
    outside = {"id": "9.9.9.9", "ip": "9.9.9.9"}
    assert not end_names(make_level([one, outside], []).nodes).has_several_hosts()
    assert end_names(make_level([one, other], []).nodes).has_several_hosts()
