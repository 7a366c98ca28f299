"""What goes over the wire, and what its ends are called; against servers on this machine."""

import asyncio
import json
import socket

import pytest

from realitycheck.lvlm.backends import errors
from realitycheck.lvlm.backends.gemini import GeminiBackend, VertexBackend
from realitycheck.lvlm.backends.openai_compatible import OpenAICompatibleBackend
from realitycheck.lvlm.keys import MissingKeyError, Redactor

KEY = "AIza-a-key-that-must-appear-nowhere-0123456789"
SERVICES = ("gemini", "vertex", "openai_compatible")


@pytest.fixture
def send(make_backend, make_questions):
    """Send the first of some questions once; gives the reply or the error."""

    def run(url, service="gemini", timeout_s=5.0, backend=None, **settings):
        question = make_questions(1, service=service, **settings)[0]
        backend = backend or make_backend(service, url)

        async def once():
            await backend.open()
            try:
                return await backend.send(question, timeout_s=timeout_s)
            except errors.SendError as error:
                return error
            finally:
                await backend.close()

        return asyncio.run(once())

    return run


@pytest.fixture
def serve(servers):
    """A server of the protocol of a service, and the helpers of its module."""

    def make(service, plan=None, **settings):
        if service == "openai_compatible":
            return servers.openai.OpenAIServer(plan, **settings), servers.openai
        return servers.gemini.GeminiServer(plan, **settings), servers.gemini

    return make


@pytest.mark.parametrize("service", SERVICES)
def test_texts_and_images_arrive_whole_and_in_order(service, serve, send, make_questions):
    """The prompt speaks of the last image; and a re-encoded image would be another one."""
    server, protocol = serve(service)
    with server:
        reply = send(server.url, service)
    question = make_questions(1, service=service)[0]
    assert protocol.parts_of(server.paid[0]) == question.encoded()
    assert len(protocol.images_of(server.paid[0])) == 2
    assert reply.http == 200
    assert json.loads(reply.body)


def test_gemini_request_holds_all_parameters(servers, send):
    settings = {"temperature": 0, "top_p": 0.95, "seed": 7, "thinking_budget": 1024}
    settings |= {"media_resolution": "high", "safety_threshold": "block_none"}
    with servers.gemini.GeminiServer() as server:
        send(server.url, parameters=settings)
    body = server.paid[0].json
    generation = body["generationConfig"]
    assert server.paid[0].path == "/v1beta/models/gemini-2.5-pro:generateContent"
    assert server.paid[0].headers["x-goog-api-key"] == KEY
    assert body["systemInstruction"]["parts"][0]["text"].startswith("You are a visual quality")
    assert [s["threshold"] for s in body["safetySettings"]] == ["BLOCK_NONE"] * 4
    schema = generation.pop("responseJsonSchema")
    assert list(schema["properties"]) == schema["propertyOrdering"]
    thinking = generation.pop("thinkingConfig")
    assert thinking.get("thinkingBudget", thinking.get("thinking_budget")) == 1024
    assert generation == {
        "temperature": 0.0,
        "topP": 0.95,
        "seed": 7,
        "candidateCount": 1,
        "maxOutputTokens": 8192,
        "responseMimeType": "application/json",
        "mediaResolution": "MEDIA_RESOLUTION_HIGH",
    }


def test_what_is_not_set_is_not_sent(servers, send):
    """The service's own default is then in force."""
    with servers.gemini.GeminiServer() as server:
        send(server.url)
    assert "safetySettings" not in server.paid[0].json
    assert set(server.paid[0].json["generationConfig"]) == {
        "candidateCount",
        "maxOutputTokens",
        "responseMimeType",
        "responseJsonSchema",
    }


def test_thinking_level_is_sent_to_later_models(servers, send):
    with servers.gemini.GeminiServer() as server:
        send(server.url, model="gemini-3.8-flash", parameters={"thinking_level": "low"})
    assert "LOW" in json.dumps(server.paid[0].json["generationConfig"]["thinkingConfig"])


def test_openai_request_holds_all_parameters(servers, send):
    settings = {"temperature": 0, "seed": 7, "max_output_tokens": 2048}
    settings["extra_body"] = {"chat_template_kwargs": {"enable_thinking": False}}
    with servers.openai.OpenAIServer() as server:
        send(server.url, "openai_compatible", parameters=settings)
    body = server.paid[0].json
    messages = body.pop("messages")
    response_format = body.pop("response_format")
    assert [m["role"] for m in messages] == ["system", "user"]
    assert response_format["json_schema"]["strict"] is True
    assert response_format["json_schema"]["schema"]["additionalProperties"] is False
    assert body == {
        "model": "qwen-vl",
        "max_tokens": 2048,
        "temperature": 0.0,
        "seed": 7,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert server.paid[0].headers["authorization"] == f"Bearer {KEY}"


def test_server_without_a_key_is_asked_without_one(servers, send, monkeypatch):
    """An account of the environment is no business of a server of one's own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody-else")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://198.51.100.1/v1")
    with servers.openai.OpenAIServer() as server:
        backend = OpenAICompatibleBackend({"base_url": f"{server.url}/v1"})
        send(server.url, "openai_compatible", backend=backend)
    assert "somebody" not in json.dumps(server.paid[0].headers)


def test_environment_does_not_turn_gemini_to_another_place(servers, send, monkeypatch):
    """The library would take address, key and mode from there."""
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", "http://198.51.100.1")
    monkeypatch.setenv("GOOGLE_VERTEX_BASE_URL", "http://198.51.100.1")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "somebody-elses")
    monkeypatch.setenv("GOOGLE_API_KEY", "key-of-somebody-else")
    with servers.gemini.GeminiServer() as server:
        for service in ("gemini", "vertex"):
            assert send(server.url, service).http == 200
    assert "somebody" not in json.dumps([[a.path, a.headers] for a in server.arrivals])


@pytest.fixture(scope="module")
def service_account(tmp_path_factory):
    """A service account whose key is made here and whose tokens come from the test's server."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    folder = tmp_path_factory.mktemp("account")

    def write(token_uri):
        account = {"type": "service_account", "project_id": "p", "private_key_id": "1"}
        account |= {"private_key": pem, "client_email": "a@b.c", "token_uri": token_uri}
        path = folder / "account.json"
        path.write_text(json.dumps(account))
        return path

    return write


def test_vertex_uses_the_account_the_project_and_the_place(servers, send, service_account):
    with servers.gemini.GeminiServer() as server:
        backend = VertexBackend(
            {
                "base_url": server.url,
                "project": "my-project",
                "location": "europe-west4",
                "credentials_file": service_account(server.url + servers.gemini.TOKEN_PATH),
            }
        )
        reply = send(server.url, "vertex", backend=backend)
    assert reply.http == 200
    assert server.paid[0].path == (
        "/v1beta1/projects/my-project/locations/europe-west4/publishers/google/models/"
        "gemini-2.5-pro:generateContent"
    )
    assert server.paid[0].headers["authorization"] == "Bearer ya29.token-of-the-test"
    assert backend.redact("ya29.token-of-the-test") == "[key removed]"


def test_account_that_cannot_be_used_is_told_before_anything_is_sent(tmp_path, monkeypatch):
    path = tmp_path / "account.json"
    path.write_text("{}")
    for broken in (path, tmp_path / "missing.json"):
        backend = VertexBackend({"project": "p", "location": "l", "credentials_file": broken})
        with pytest.raises(MissingKeyError, match=f"{broken.name} is no service account file"):
            asyncio.run(backend.open())
        asyncio.run(backend.close())
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    backend = VertexBackend({"project": "p", "location": "l"})
    with pytest.raises(MissingKeyError, match="no Google Cloud account: .*log in with gcloud"):
        asyncio.run(backend.open())
    asyncio.run(backend.close())


def test_vertex_address_follows_the_place():
    for place, host in [
        (None, "aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ]:
        assert VertexBackend.own_address({"location": place}) == f"https://{host}/"


@pytest.mark.parametrize(
    ("backend", "key", "settings", "message"),
    [
        (GeminiBackend, None, {}, "gemini needs a key"),
        (GeminiBackend, KEY, {"project": "p"}, "project: is not a setting of backend gemini"),
        (VertexBackend, None, {"project": "p"}, "location: Vertex AI with an account needs it"),
        (VertexBackend, KEY, {"project": "p"}, "keep one"),
        (GeminiBackend, KEY, {"base_url": "host:1"}, "an address like https://"),
        (GeminiBackend, KEY, {"base_url": "https://u:p@h/"}, "may hold a key"),
        (GeminiBackend, KEY, {"base_url": "https://h/?key=1"}, "may hold a key"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(backend, key, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        backend(settings, api_key=key)
    assert KEY not in str(caught.value)


ENDS = [
    ("400", "refused"),
    ("401", "refused"),
    ("403", "refused"),
    ("404", "refused"),
    ("408", "unavailable"),
    ("413", "refused"),
    ("422", "refused"),
    ("429", "throttled"),
    ("500", "unavailable"),
    ("502", "unavailable"),
    ("503", "unavailable"),
    ("504", "unavailable"),
    ("reset", "unknown"),
    ("cut", "unknown"),
    ("silent", "unknown"),
    ("redirect", "refused"),
]


@pytest.mark.parametrize("service", SERVICES)
def test_every_end_of_a_request_has_its_name(service, serve, servers, send):
    """And no request is sent twice behind our back: the libraries' own retries are off."""
    for kind, outcome in ENDS:
        wish = {
            "reset": servers.Served(hang_up=True),
            "cut": servers.Served(body={"a": "x" * 500}, keep_bytes=100),
            "silent": servers.Served(body={}, wait_s=0.6),
            "redirect": servers.Served(302, {}, headers={"Location": "http://198.51.100.1/"}),
        }.get(kind)
        server, protocol = serve(service)
        server.plan = {1: wish or protocol.failure(int(kind))}
        with server:
            error = send(server.url, service, timeout_s=0.3 if kind == "silent" else 5.0)
        assert (kind, error.outcome) == (kind, outcome)
        assert len(server.arrivals) == 1
        if kind.isdigit():
            assert (kind, error.http) == (kind, int(kind))
            assert f"planned {kind}" in error.detail


@pytest.mark.parametrize("service", SERVICES)
def test_host_that_does_not_listen_is_unreachable(service, send):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert send(url, service).outcome == "unreachable"


@pytest.mark.parametrize("service", SERVICES)
def test_html_of_a_gateway_is_an_error_like_any_other(service, serve, servers, send):
    server, _ = serve(service, {1: servers.Served(502, "<html><h1>Bad gateway</h1></html>")})
    with server:
        error = send(server.url, service)
    assert (error.outcome, error.detail) == ("unavailable", "HTTP 502: Bad gateway")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("body", ["<html>", '{"candidates": [{"finishRea', "", "[]"])
def test_odd_body_is_handed_over_and_not_lost(service, body, serve, servers, send):
    """It has been paid for; the libraries would raise and forget it."""
    server, _ = serve(service, {1: servers.Served(body=body)})
    with server:
        assert send(server.url, service).body == body


def test_pauses_are_read_from_body_and_header(servers, send):
    failure, served = servers.gemini.failure, servers.Served
    for wish, wait_s in [
        (failure(429, retry_s=53), 53.0),
        (failure(429, retry_s=0.25), 0.25),
        (failure(429), None),
        (failure(429, retry_s="soon"), None),
        (served(429, "{}", headers={"Retry-After": "7"}), 7.0),
        (served(503, "{}", headers={"Retry-After": "7"}), 7.0),
        (served(429, "{}", headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0.0),
        (served(429, "{}", headers={"Retry-After": "later"}), None),
    ]:
        with servers.gemini.GeminiServer({1: wish}) as server:
            assert send(server.url).wait_s == wait_s


def test_daily_quota_is_told_from_the_others(servers, send):
    for quota, is_daily in [
        ("GenerateRequestsPerDayPerProjectPerModel", True),
        ("GenerateRequestsPerMinutePerProjectPerModel", False),
    ]:
        with servers.gemini.GeminiServer({1: servers.gemini.failure(429, quota=quota)}) as server:
            assert send(server.url).is_daily is is_daily


@pytest.mark.parametrize("service", SERVICES)
def test_key_that_a_server_echoes_is_removed(service, serve, servers, send):
    """Services quote a wrong key in their message."""
    server, protocol = serve(service)
    server.plan = {1: protocol.failure(400, message=f"API key not valid: {KEY}")}
    with server:
        error = send(server.url, service)
    assert KEY not in error.detail + error.body + repr(error.headers)
    assert "API key not valid: [key removed]" in error.detail
    server, _ = serve(service, {1: servers.Served(body=f"echo {KEY}", headers={"Server": KEY})})
    with server:
        reply = send(server.url, service)
    assert KEY not in repr(reply)


def test_only_harmless_headers_are_kept():
    kept = errors.kept_headers({"Date": "d", "Set-Cookie": "c", "X-Request-Id": "1"}, Redactor())
    assert kept == {"date": "d", "x-request-id": "1"}


def test_request_to_another_host_is_never_sent(send, servers, monkeypatch):
    """Whatever a library takes its address from, only the configured host is talked to."""
    with servers.gemini.GeminiServer() as server, servers.gemini.GeminiServer() as other:
        backend = GeminiBackend({"base_url": server.url}, api_key=KEY)
        opened = backend.open

        async def open_elsewhere():
            await opened()
            backend._client._api_client._http_options.base_url = other.url

        backend.open = open_elsewhere
        error = send(server.url, backend=backend)
    assert isinstance(error, errors.RefusedError)
    assert "nothing was sent" in error.detail
    assert not server.arrivals
    assert not other.arrivals


def test_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(ValueError, match=r"pip install 'realitycheck\[openai\]'"):
        OpenAICompatibleBackend({"base_url": "http://localhost/v1"})
