"""No image and no key arrive where they may not: at proxies, behind redirects."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from realitycheck.lvlm.backends.egress import LeavesSiteError
from realitycheck.lvlm.run import RunStoppedError

SERVICES = ("gemini", "openai_compatible")
GOOD = {"reasoning": "Flawless.", "label": "OK", "score": 3}
ANSWER = {"choices": [{"message": {"content": json.dumps(GOOD)}, "finish_reason": "stop"}]}


class Elsewhere:
    """A host that keeps what arrives; it answers as a forwarding proxy would."""

    def __init__(self):
        self.arrived = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("content-length") or 0)
                outer.arrived.append((self.path, dict(self.headers), self.rfile.read(length)))
                body = json.dumps(ANSWER).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_CONNECT = do_POST

            def log_message(self, *_):
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def elsewhere():
    with Elsewhere() as host:
        yield host


@pytest.fixture
def serve(servers):
    """A server of the protocol of a service."""

    def make(service, plan=None):
        kinds = {"gemini": servers.gemini.GeminiServer, "openai_compatible": None}
        return (kinds[service] or servers.openai.OpenAIServer)(plan)

    return make


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("scheme", ["", "http://", "socks5://"])
def test_questions_for_this_machine_go_to_no_proxy(
    service, scheme, serve, put, make_questions, elsewhere, monkeypatch
):
    """In every way in which an environment can name one."""
    address = elsewhere.url.removeprefix("http://")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, scheme + address)
        monkeypatch.setenv(name.lower(), scheme + address)
    with serve(service) as server:
        rows, _ = put(make_questions(1, service=service), server.url)
    assert rows["status"].tolist() == ["answered"]
    assert not elsewhere.arrived


def test_proxy_in_use_is_named_in_the_log(
    put, make_questions, make_backend, elsewhere, monkeypatch, caplog
):
    """Where images may leave the site, the site's own proxy is the way out."""
    monkeypatch.setenv("HTTP_PROXY", elsewhere.url.replace("//", "//me:a-secret-word@"))
    questions = make_questions(1, service="openai_compatible")
    backend = make_backend("openai_compatible", "http://vllm.cloud.example")
    with caplog.at_level(logging.INFO):
        rows, _ = put(questions, "", backend=backend)
    assert rows["status"].tolist() == ["answered"]
    assert [path for path, _, _ in elsewhere.arrived] == [
        "http://vllm.cloud.example/v1/chat/completions"
    ]
    assert f"through the proxy {elsewhere.url}" in caplog.text
    assert "a-secret-word" not in caplog.text


def test_nothing_reaches_a_proxy_without_leave(
    put, make_questions, make_backend, elsewhere, monkeypatch
):
    monkeypatch.setenv("HTTP_PROXY", elsewhere.url)
    questions = make_questions(1, service="openai_compatible")
    address = "http://vllm.cloud.example"
    with pytest.raises(LeavesSiteError):
        put(questions, "", may_leave_site=False, backend=make_backend("openai_compatible", address))
    declared = make_backend("openai_compatible", address, on_site=True)
    with pytest.raises(RunStoppedError):  # no such host: the proxy is not asked instead
        put(questions, "", may_leave_site=False, backend=declared, rate_limits={"max_tries": 1})
    assert not elsewhere.arrived


def test_proxy_that_cannot_be_used_says_which_setting_names_it(
    put, make_questions, make_backend, monkeypatch
):
    monkeypatch.setenv("ALL_PROXY", "socks4://proxy.example:1080")
    backend = make_backend("openai_compatible", "http://vllm.cloud.example")
    with pytest.raises(ValueError, match=r"proxy socks4://proxy.example:1080 .* NO_PROXY"):
        put(make_questions(1, service="openai_compatible"), "", backend=backend)


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_never_followed(
    service, status, serve, servers, put, make_questions, elsewhere
):
    """Not with 307 either, which repeats the body, and not to another door of the same host."""
    for place in (f"{elsewhere.url}/v1/chat/completions", "/elsewhere", "http://[", ""):
        redirect = servers.Served(status, {}, headers={"Location": place})
        server = serve(service, lambda _, redirect=redirect: redirect)
        with server, pytest.raises(RunStoppedError, match="passes on to .* nothing was") as caught:
            put(make_questions(1, service=service), server.url)
        assert caught.value.reason == "refused"
        assert len(server.arrivals) == 1
    assert not elsewhere.arrived
