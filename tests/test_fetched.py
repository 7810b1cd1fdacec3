"""A model by its URL: resumed, checked by its SHA-256, kept, and never a pickle that runs."""

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from ganforge import cli
from ganforge.commands import predict
from ganforge.errors import UserError
from ganforge.files import fetched
from ganforge.runs import from_url
from test_export import checkpoint_of

CONTENT = np.random.default_rng(0).bytes(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """files: path -> content. cut: how many bytes are sent before the connection ends, a number for each answer.

    asked: (path, range) of each request. ranged: whether it knows ranges. redirects: path -> address.
    """

    def __init__(self, files):
        self.files, self.cut, self.asked, self.ranged, self.redirects = files, [], [], True, {}
        self.goes_on = None  # an Event; the second half is sent when it is set
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()

    def answer(self, request):
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        if request.path in self.redirects:
            request.send_response(302)
            request.send_header("Location", self.redirects[request.path])
            request.end_headers()
            return
        content = self.files.get(request.path)
        if content is None:
            request.send_error(404)
            return
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.ranged else 0
        if begin >= len(content) > 0:
            request.send_error(416)
            return
        request.send_response(206 if begin else 200)
        if begin:
            request.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        request.send_header("Content-Length", str(len(content) - begin))
        request.end_headers()
        sent = content[begin:][: self.cut.pop(0) if self.cut else None]
        half = len(sent) // 2 if self.goes_on and len(sent) > 1000 else 0
        request.wfile.write(sent[:half])
        if half:
            self.goes_on.wait(60)
        request.wfile.write(sent[half:])

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    made = Server({"/m.ckpt": CONTENT})
    yield made
    made.close()


def fetch(server, folder, sha256=DIGEST, path="/m.ckpt"):
    told = []
    found = fetched.fetch(
        f"{server.address}{path}", folder, "m.ckpt", sha256, lambda have, total: told.append((have, total))
    )
    return found, told


def test_a_file_comes_whole_once_and_says_how_far_it_is(server, tmp_path):
    file, told = fetch(server, tmp_path)
    assert file.read_bytes() == CONTENT and told[-1] == (3_000_000, 3_000_000) and len(told) >= 3
    assert fetch(server, tmp_path) == (file, []) and len(server.asked) == 1  # it is there
    file.write_bytes(CONTENT[:-1] + b"x")  # changed since
    assert fetch(server, tmp_path)[0].read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["m.ckpt"]


def test_a_broken_connection_goes_on_where_it_ended(server, tmp_path):
    server.cut = [1_000_000, 500_000]
    assert fetch(server, tmp_path)[0].read_bytes() == CONTENT
    assert server.asked == [("/m.ckpt", None), ("/m.ckpt", "bytes=1000000-"), ("/m.ckpt", "bytes=1500000-")]


def test_what_an_ended_command_left_is_continued_by_the_next_one(server, tmp_path):
    server.cut = [1_000_000, 0]
    with pytest.raises(UserError, match="ended early; the same command goes on from there"):
        fetch(server, tmp_path)
    assert not (tmp_path / "m.ckpt").exists() and (tmp_path / "m.ckpt.part").stat().st_size == 1_000_000
    assert fetch(server, tmp_path)[0].read_bytes() == CONTENT
    assert server.asked[-1] == ("/m.ckpt", "bytes=1000000-")
    (tmp_path / "m.ckpt").rename(tmp_path / "m.ckpt.part")  # whole, but not yet named
    assert fetch(server, tmp_path)[0].read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(server, tmp_path):
    server.ranged, server.cut = False, [1_000_000]
    assert fetch(server, tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"", b"other bytes"])
def test_another_file_than_the_expected_one_is_not_kept(server, tmp_path, left):
    (tmp_path / "m.ckpt.part").write_bytes(left)
    with pytest.raises(UserError, match=f"and {'0' * 64} was expected; it was not kept"):
        fetch(server, tmp_path, "0" * 64)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_where_the_checksum_stands(server):
    url = f"{server.address}/m.ckpt"
    assert fetched.expected(url, DIGEST.upper()) == DIGEST
    server.files["/m.ckpt.sha256"] = f"{DIGEST}  m.ckpt\n".encode()
    assert fetched.expected(url, None) == DIGEST
    for wrong in (b"", b"none", b"\xff\xfe", b"0" * 63):
        server.files["/m.ckpt.sha256"] = wrong
        with pytest.raises(UserError, match="give it by --sha256"):
            fetched.expected(url, None)
    del server.files["/m.ckpt.sha256"]
    with pytest.raises(UserError, match="no SHA-256 of it stands in"):
        fetched.expected(url, None)
    with pytest.raises(UserError, match="64 letters"):
        fetched.expected(url, "12")
    with pytest.raises(UserError, match="may be changed on its way"):
        fetched.expected("http://example.org/m.ckpt", None)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/m.ckpt", "https:///m.ckpt", "/etc/passwd"])
def test_only_the_web_is_asked(server, tmp_path, address):
    with pytest.raises(UserError):
        fetched.fetch(address, tmp_path, "m.ckpt", DIGEST, lambda *_: None)
    server.redirects["/away.ckpt"] = address if ":" in address else f"file://{address}"
    with pytest.raises(UserError):
        fetch(server, tmp_path, path="/away.ckpt")
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_what_is_not_there_is_a_sentence(server, tmp_path):
    with pytest.raises(UserError, match="HTTP 404"):
        fetch(server, tmp_path, path="/none.ckpt")
    server.close()
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch(server, tmp_path)
    with pytest.raises(UserError, match="cannot be fetched"):
        fetched.expected(f"{server.address}/m.ckpt", None)


def test_more_than_there_is_room_for_is_refused(server, tmp_path, monkeypatch):
    monkeypatch.setattr(fetched, "MOST_BYTES", 1_000_000)
    with pytest.raises(UserError, match=r"has 3,000,000 bytes, and there is room for 1,000,000"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("name", ["m.pkl", "m.pt", "m.pth", "m.bin", "m", "m.zip", "m.ckpt.pkl"])
def test_formats_that_may_run_code_are_refused_without_a_request(server, tmp_path, name, capsys):
    assert cli.main(["app", "--model", f"{server.address}/{name}", "--sha256", DIGEST]) == 1
    assert "other formats may run code" in capsys.readouterr().err and server.asked == []


def test_a_fetched_model_translates_as_the_file_does(server, tmp_path, monkeypatch):
    checkpoint = checkpoint_of("unet", tmp_path)
    assert cli.main(["export", str(checkpoint), "--format", "safetensors", "--output", str(tmp_path / "hub"),
                     "--license", "mit"]) == 0  # fmt: skip
    for path in (checkpoint, tmp_path / "hub/model.safetensors", tmp_path / "hub/config.json"):
        server.files[f"/{path.name}"] = path.read_bytes()
        server.files[f"/{path.name}.sha256"] = hashlib.sha256(path.read_bytes()).hexdigest().encode()
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (expected,) = predict.predict(checkpoint, [tmp_path / "a.png"], tmp_path / "own")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("best.ckpt", "model.safetensors"):
        found = from_url.fetch(f"{server.address}/{name}", None)
        assert found.is_relative_to(tmp_path / "cache/ganforge/models")
        (written,) = predict.predict(found, [tmp_path / "a.png"], tmp_path / name)
        assert written.read_bytes() == expected.read_bytes()
    before = len(server.asked)
    from_url.fetch(
        f"{server.address}/model.safetensors", hashlib.sha256(server.files["/model.safetensors"]).hexdigest()
    )
    assert len(server.asked) == before  # offline, once it is there


def test_a_fetched_checkpoint_that_would_run_code_is_refused(server, tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    content = pickle.dumps(Evil())
    server.files["/m.ckpt"] = content
    file = from_url.fetch(f"{server.address}/m.ckpt", hashlib.sha256(content).hexdigest(), tmp_path / "cache")
    with pytest.raises(UserError):
        predict.predict(file, [tmp_path], tmp_path / "out")
    assert not (tmp_path / "ran").exists()
