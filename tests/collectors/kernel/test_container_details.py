import json

import pytest

from ebpf_net.collectors.kernel.container_details import (
    as_list,
    as_object,
    as_text,
    make_details,
    nomad_labels,
    split_image,
)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("nginx", ("nginx", "latest")),
        ("nginx:1.27", ("nginx", "1.27")),
        ("docker.io/library/nginx:1.27-alpine",
         ("docker.io/library/nginx", "1.27-alpine")),
        ("registry:5000/shop/web", ("registry:5000/shop/web", "latest")),
        ("registry:5000/shop/web:v2", ("registry:5000/shop/web", "v2")),
        ("nginx@sha256:aa", ("nginx", "")),
        ("nginx:1.27@sha256:aa", ("nginx", "1.27")),
        ("sha256:0123abcd", ("sha256:0123abcd", "")),
        ("", ("", "")),
    ],
)  # fmt: skip
def test_an_image_is_split_from_its_tag(reference, expected):
    assert split_image(reference) == expected


def test_labels_and_names_have_bounds():
    labels = {f"key{number:03}": "v" * 1000 for number in range(100)}
    labels |= {"a-long-one": "v" * 5000, "a-short-one": "v"}
    details = make_details("n" * 10_000, "i" * 10_000, labels)
    assert len(details.name) == len(details.image) == 4096
    assert "a-long-one" not in details.labels
    assert details.labels["a-short-one"] == "v"
    assert len(json.dumps(dict(details.labels))) <= 32_768 + 2
    assert details.cut == 2 + len(labels) - len(details.labels)
    assert make_details("web", "nginx", {"a": "b"}).cut == 0


@pytest.mark.parametrize(
    "key",
    [
        "io.kubernetes.pod.name",
        "com.amazonaws.ecs.task-definition-family",
        "com.hashicorp.nomad.job_name",
        "com.docker.compose.service",
    ],
)
def test_labels_that_name_a_workload_are_not_pushed_out_by_others(key):
    labels = {f"a{number:03}": "v" * 1000 for number in range(100)} | {key: "web"}
    assert make_details("", "", labels).labels[key] == "web"


def test_a_nomad_variable_without_a_value_is_no_label():
    assert nomad_labels(["NOMAD_JOB_NAME=", "NOMAD_JOB_NAME", "=", None]) == {}


def test_json_of_another_type_is_empty():
    assert (as_text(1), as_list({}), as_object([])) == ("", [], {})
    assert (as_text("a"), as_list([1]), as_object({"a": 1})) == ("a", [1], {"a": 1})
