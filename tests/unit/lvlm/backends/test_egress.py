"""The egress check, before anything leaves the site."""

import pytest

from realitycheck.lvlm.backends.egress import LeavesSiteError, address_faults, without_login
from realitycheck.lvlm.backends.registry import service_of


def endpoint(service, address, **settings):
    return service_of(service).endpoint_of({"base_url": address, **settings})


@pytest.mark.parametrize(
    ("service", "address", "declared", "on_site"),
    [
        ("gemini", None, None, False),
        ("gemini", "http://127.0.0.1:1", None, False),
        ("gemini", "http://127.0.0.1:1", True, True),
        ("vertex", None, None, False),
        ("openai_compatible", "http://localhost:8000/v1", None, True),
        ("openai_compatible", "http://127.0.0.1:8000/v1", None, True),
        ("openai_compatible", "http://[::1]:8000/v1", None, True),
        ("openai_compatible", "http://10.1.2.3:8000/v1", None, True),
        ("openai_compatible", "http://8.8.8.8/v1", None, False),
        ("openai_compatible", "http://vllm.plant.example/v1", None, False),
        ("openai_compatible", "http://vllm.plant.example/v1", True, True),
        ("openai_compatible", "http://10.1.2.3:8000/v1", False, False),
        ("openai_compatible", "http://10.evil.example/v1", None, False),
        ("openai_compatible", "http://localhost.evil.example/v1", None, False),
        ("openai_compatible", "http://[::ffff:8.8.8.8]/v1", None, False),
        ("openai_compatible", "http://[::ffff:10.1.2.3]/v1", None, True),
        ("openai_compatible", "http://[fd00::1]:8000/v1", None, True),
        ("openai_compatible", "http://[2002:808:808::]/v1", None, False),
        ("openai_compatible", "http://100.64.0.1/v1", None, False),
        ("openai_compatible", "https://api.openai.com/v1", True, False),
        ("openai_compatible", "https://API.OpenAI.com./v1", True, False),
        ("gemini", None, True, False),
    ],
)
def test_only_what_is_surely_on_site_counts_as_such(service, address, declared, on_site):
    """A gateway on this machine may pass on, and a name proves nothing."""
    assert endpoint(service, address, on_site=declared).is_on_site is on_site


def test_refusal_says_why_and_names_the_alternative():
    with pytest.raises(LeavesSiteError) as caught:
        endpoint("gemini", None).check("chips", may_leave_site=False)
    message = str(caught.value)
    assert "data set chips" in message
    assert "generativelanguage.googleapis.com" in message
    assert "may_leave_site" in message
    assert "confidential" in message
    assert "openai_compatible with vLLM, Ollama or LM Studio" in message


def test_allowed_data_sets_pass():
    endpoint("gemini", None).check("chips", may_leave_site=True)
    endpoint("openai_compatible", "http://localhost/v1").check("chips", may_leave_site=False)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8000/v1",
        "localhost:8000/v1",
        "ftp://host/v1",
        "http:/host/v1",
        "http://",
        "http://host:99999/v1",
        "http://host:0/v1",
        "http://[::1/v1",
        "http://ho st/v1",
        "http://127.0.0.1\\@evil.example/v1",
        "http://127.0.0.1\n.evil.example/v1",
        "http://１２７.0.0.1/v1",
        "http://user:secret-of-mine@127.0.0.1/v1",
        "http://secret-of-mine@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=secret-of-mine",
        "http://127.0.0.1/v1#secret-of-mine",
        7,
    ],
)
def test_what_is_no_plain_address_is_a_fault(address):
    """Two libraries could read it as two hosts; and what may be a key in it is not repeated."""
    (fault,) = address_faults(address)
    assert "base_url" in fault
    assert "secret-of-mine" not in fault


@pytest.mark.parametrize(
    ("service", "address", "on_site", "words"),
    [
        ("openai_compatible", "https://api.openai.com/v1", True, "api.openai.com is a cloud's"),
        ("openai_compatible", "https://x.openai.azure.com/openai/v1", True, "is a cloud's"),
        ("vertex", "https://europe-west4-aiplatform.googleapis.com/", True, "is a cloud's"),
        ("gemini", None, True, "without base_url the images go to https://generative"),
        ("openai_compatible", "10.1.2.3:8000/v1", None, "expected an address like"),
        ("openai_compatible", "https://api.openai.com/v1", None, None),
        ("openai_compatible", "http://vllm.plant.example/v1", True, None),
        ("gemini", None, None, None),
    ],
)
def test_settings_of_an_endpoint_that_cannot_be_true_are_faults(service, address, on_site, words):
    faults = endpoint(service, address, on_site=on_site).faults()
    assert bool(faults) == (words is not None)
    assert words is None or words in faults[0]


@pytest.mark.parametrize(
    ("model", "leaves"),
    [
        ("qwen3-vl:235b-cloud", True),
        ("glm-4.6:cloud", True),
        ("Qwen3-VL:235B-Cloud", True),
        ("qwen3-vl:8b", False),
        ("cloud-inspector:8b", False),
    ],
)
def test_model_that_its_server_runs_in_a_cloud_leaves_the_site(model, leaves):
    """Ollama passes such models on, from an address that is this machine's."""
    for on_site in (None, True):
        known = {"on_site": on_site, "model": model}
        asked = endpoint("openai_compatible", "http://127.0.0.1:11434/v1", **known)
        assert asked.has_cloud_model is leaves
        if leaves:
            with pytest.raises(LeavesSiteError, match="runs in a cloud, by its name"):
                asked.check("chips", may_leave_site=False)
        else:
            asked.check("chips", may_leave_site=False)


def test_setting_names_other_models_that_leave():
    known = ("openai_compatible", "http://127.0.0.1/v1")
    endpoint(*known, model="relay/gpt").check("chips", may_leave_site=False)
    with pytest.raises(LeavesSiteError, match="runs in a cloud"):
        endpoint(*known, model="relay/gpt", cloud_models=["relay/*"]).check(
            "chips", may_leave_site=False
        )


@pytest.mark.parametrize(
    ("found", "leaves"), [(["10.1.2.3"], False), (["10.1.2.3", "8.8.8.8"], True), ([], False)]
)
def test_name_that_leads_to_a_public_address_is_not_on_site(found, leaves, monkeypatch):
    """Whatever the settings declare; a number was written down by whoever declared it."""
    import socket

    def look_up(host, port):
        if not found:
            raise socket.gaierror("not known")
        return [(socket.AF_INET, 0, 0, "", (address, 0)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    number, name = (
        endpoint("openai_compatible", f"http://{host}/v1", on_site=True)
        for host in ("8.8.8.8", "vllm.plant")
    )
    number.check("chips", may_leave_site=False)
    if leaves:
        with pytest.raises(LeavesSiteError, match=r"resolves to 8\.8\.8\.8"):
            name.check("chips", may_leave_site=False)
    else:
        name.check("chips", may_leave_site=False)


PROXY_NAMES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.mark.parametrize("name", PROXY_NAMES)
def test_no_proxy_of_the_environment_for_the_site(name, monkeypatch):
    monkeypatch.setenv(name, "proxy.plant.example:3128")
    for service, address, on_site in [
        ("openai_compatible", "http://127.0.0.1:8000/v1", None),
        ("openai_compatible", "https://10.1.2.3/v1", None),
        ("openai_compatible", "https://localhost/v1", False),
        ("openai_compatible", "https://vllm.plant.example/v1", True),
        ("gemini", "http://127.0.0.1:1/", None),
    ]:
        assert endpoint(service, address, on_site=on_site).proxy is None
    scheme = "http" if name.lower().startswith("http_") else "https"
    found = endpoint("openai_compatible", f"{scheme}://vllm.cloud.example/v1")
    assert found.proxy == "http://proxy.plant.example:3128"
    monkeypatch.setenv("NO_PROXY", "cloud.example")
    assert found.proxy is None


def test_login_of_a_proxy_is_not_told():
    assert without_login("http://me:secret@proxy:3128") == "http://proxy:3128"
