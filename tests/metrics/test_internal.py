from ebpf_net.metrics import INTERNAL_METRICS


def test_internal_names_are_unique():
    assert len({metric.name for metric in INTERNAL_METRICS}) == len(INTERNAL_METRICS)
