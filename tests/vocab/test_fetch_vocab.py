"""fetch_vocab against a local server: whole and verified, or a clear error and nothing on disk."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kosplinter_common.cli import InputError
from vocab.fetch_vocab import VOCABULARIES, PublicVocabulary, fetch

CONTENT = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n[QUESTION]\n"
PUBLIC = PublicVocabulary("owner/repository", "abc1234", "vocabs/small.txt", hashlib.sha256(CONTENT).hexdigest())


class Handler(BaseHTTPRequestHandler):
    answer = CONTENT
    announced_length = len(CONTENT)

    def do_GET(self) -> None:
        if self.path != "/owner/repository/abc1234/vocabs/small.txt":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(self.announced_length))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("OneTestsHandler", (Handler,), {})
    http = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}", handler
    http.shutdown()
    thread.join()
    http.server_close()


def test_writes_the_whole_file(server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "small.txt"
    fetch(PUBLIC, target, server[0])
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]


def refuse(url: str, tmp_path: Path, message: str, public: PublicVocabulary = PUBLIC) -> None:
    with pytest.raises(InputError, match=message):
        fetch(public, tmp_path / "small.txt", url)
    assert list(tmp_path.iterdir()) == []


def test_refuses_another_content_and_keeps_the_old_file(server, tmp_path: Path) -> None:
    url, handler = server
    handler.answer = CONTENT.replace(b"QUESTION", b"question")
    refuse(url, tmp_path, "not the pinned file: found sha256 .*, expected " + PUBLIC.sha256)
    old = tmp_path / "small.txt"
    old.write_bytes(CONTENT)
    with pytest.raises(InputError):
        fetch(PUBLIC, old, url)
    assert old.read_bytes() == CONTENT


def test_refuses_half_a_file(server, tmp_path: Path) -> None:
    url, handler = server
    handler.answer = CONTENT[: len(CONTENT) // 2]
    refuse(url, tmp_path, f"ended early: found {len(handler.answer)} bytes, expected {len(CONTENT)}")


def test_refuses_a_missing_page(server, tmp_path: Path) -> None:
    refuse(server[0], tmp_path, "cannot download .*404", PublicVocabulary("owner/none", "abc1234", "x.txt", ""))


def test_refuses_a_dead_network(tmp_path: Path) -> None:
    refuse("http://127.0.0.1:9", tmp_path, "cannot download")


@pytest.mark.parametrize("name", ["kosplinter", "splinter"])
def test_pinned_sums_are_those_of_the_public_files(name: str) -> None:
    public = VOCABULARIES[name]
    copy = Path(__file__).parents[3] / "shared" / "vocab" / public.file_name
    if not copy.exists():
        pytest.skip("the public vocabularies do not lie beside the repository")
    assert hashlib.sha256(copy.read_bytes()).hexdigest() == public.sha256
