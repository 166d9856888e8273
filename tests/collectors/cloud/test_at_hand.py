import pytest

from ebpf_net.collectors.cloud.at_hand import clouds_at_hand


@pytest.mark.parametrize(
    ("variable", "cloud"),
    [
        ("AWS_ACCESS_KEY_ID", "aws"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "aws"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "aws"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "gcp"),
        ("AZURE_CLIENT_ID", "azure"),
        ("AZURE_FEDERATED_TOKEN_FILE", "azure"),
    ],
)
def test_a_variable_of_an_sdk_says_which_cloud(variable, cloud):
    assert clouds_at_hand({variable: "x"}, "") == (cloud,)


def test_files_below_the_home_directory_say_which_cloud(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").touch()
    (tmp_path / ".azure").mkdir()
    (tmp_path / ".azure/azureProfile.json").touch()
    assert clouds_at_hand({"HOME": str(tmp_path)}, "") == ("aws", "azure")


def test_the_machine_itself_says_which_cloud():
    assert clouds_at_hand({}, "gcp") == ("gcp",)
    assert clouds_at_hand({}, "hetzner") == ()


def test_nothing_says_nothing(tmp_path):
    assert clouds_at_hand({"HOME": str(tmp_path), "AWS_PROFILE": ""}, "") == ()
