"""Raw files come from the user's folder or a home, whole and right, or there is one line that says why not."""

import gzip
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import faults
import pytest

from memvae.data import download
from memvae.errors import InputError

CONTENT = bytes(range(256)) * 1024
RIGHT = {"sha256": hashlib.sha256(CONTENT).hexdigest()}
ROWS = {"sha256_rows": hashlib.sha256(b"0,1\n1,0\n1,1").hexdigest()}


class Home(BaseHTTPRequestHandler):
    """/<behaviour>/<file>; remembers what was asked."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        behaviour = self.path.split("/")[1]
        if behaviour == "recovers":
            behaviour = "good" if self.asked.count(self.path) == 3 else "503"
        if behaviour.isdigit():
            self.send_error(int(behaviour))
            return
        if behaviour == "login":
            self.send_response(302)
            self.send_header("Location", "/page/login")
            self.end_headers()
            return
        body = {"page": b"<!DOCTYPE html>\n<html>Not here</html>", "wrong": CONTENT[:-1] + b"?"}.get(behaviour, CONTENT)
        self.send_response(200)
        if behaviour != "unsaid":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:1000] if behaviour == "truncated" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """The address of a server of this machine; nothing is waited for."""
    handler = type("Handler", (Home,), {"asked": []})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    running.address = f"http://127.0.0.1:{running.server_port}"
    running.handler = handler
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "raw" / "file.bin"


def entry_of(server, *behaviours):
    return RIGHT | {"homes": [f"{server.address}/{behaviour}/" for behaviour in behaviours]}


def refusal(entry, place, folder=None):
    """The one line of a failed fetch, after which the place holds nothing, nor does its folder."""
    with pytest.raises(InputError) as caught:
        download.fetch("some", "file.bin", entry, place, folder)
    assert not place.exists()
    assert not place.parent.exists() or not list(place.parent.iterdir())
    line = str(caught.value)
    assert "\n" not in line and "scale=demo" in line and download.expected(entry) in line
    return line


@pytest.mark.parametrize("behaviour", ["good", "unsaid"])
@pytest.mark.parametrize("earlier", [b"", CONTENT[:77]])
def test_a_home_delivers_the_file(server, place, behaviour, earlier):
    place.parent.mkdir()
    place.write_bytes(earlier)
    download.fetch("some", "file.bin", entry_of(server, behaviour), place, None)
    assert place.read_bytes() == CONTENT
    assert [p.name for p in place.parent.iterdir()] == ["file.bin"]
    assert server.handler.asked == [f"/{behaviour}/file.bin"]


def test_a_valid_destination_is_left_alone(server, place):
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    download.fetch("some", "file.bin", entry_of(server, "good"), place, None)
    assert server.handler.asked == []


def test_a_damaged_destination_stays_what_it_was_when_nothing_better_is_found(server, place):
    place.parent.mkdir()
    place.write_bytes(CONTENT[:77])
    with pytest.raises(InputError):
        download.fetch("some", "file.bin", entry_of(server, "truncated"), place, None)
    assert place.read_bytes() == CONTENT[:77]
    assert [p.name for p in place.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("behaviour", "found"),
    [
        ("404", "404"),
        ("503", "503"),
        ("truncated", "1,000 bytes with sha256 "),
        ("page", "an HTML page (37 bytes)"),
        ("wrong", "262,144 bytes with sha256 "),
        ("login", "an HTML page (37 bytes)"),
    ],
)
def test_what_a_home_does_wrong_is_named_and_a_second_one_helps(server, place, behaviour, found):
    with faults.injected(f"download: {behaviour}", "one home"):
        assert found in refusal(entry_of(server, behaviour), place)
    with faults.injected(f"download: {behaviour}", "first of two homes"):
        download.fetch("some", "file.bin", entry_of(server, behaviour, "good"), place, None)
        assert place.read_bytes() == CONTENT


def test_a_home_is_asked_three_times(server, place):
    download.fetch("some", "file.bin", entry_of(server, "recovers"), place, None)
    assert place.read_bytes() == CONTENT and len(server.handler.asked) == 3


def test_a_file_that_never_ends_is_cut_off(server, place, monkeypatch):
    monkeypatch.setattr(download, "LIMIT", 100_000)
    assert "100,000 bytes with sha256" in refusal(entry_of(server, "unsaid"), place)


def test_no_network_and_a_silent_home_are_named(server, place, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        assert "timed out" in refusal(RIGHT | {"homes": [f"http://127.0.0.1:{silent.getsockname()[1]}/"]}, place)

    def fail(*args, **options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    line = refusal(RIGHT | {"homes": ["https://somewhere.example/"]}, place)
    assert "somewhere.example: " in line and "Temporary failure in name resolution" in line


@pytest.mark.parametrize("where", ["some/file.bin", "file.bin", "some/file.bin.gz", "file.bin.gz"])
def test_the_users_folder_comes_before_any_download(server, place, tmp_path, where):
    path = tmp_path / "folder" / where
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(CONTENT, mtime=0) if where.endswith(".gz") else CONTENT)
    download.fetch("some", "file.bin", entry_of(server, "good"), place, tmp_path / "folder")
    assert place.read_bytes() == CONTENT and server.handler.asked == []


def test_a_gz_that_is_the_file_itself_is_not_unpacked(tmp_path):
    packed = gzip.compress(CONTENT, mtime=0)
    (tmp_path / "file.gz").write_bytes(packed)
    entry = {"sha256": hashlib.sha256(packed).hexdigest(), "homes": []}
    download.fetch("some", "file.gz", entry, tmp_path / "raw/file.gz", tmp_path)
    assert (tmp_path / "raw/file.gz").read_bytes() == packed


def test_a_file_that_the_folder_lacks_is_downloaded(server, place, tmp_path):
    assert f"{tmp_path}: missing; 127.0.0.1:" in refusal(entry_of(server, "404"), place, tmp_path)
    download.fetch("some", "file.bin", entry_of(server, "good"), place, tmp_path)
    assert place.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("file.bin", b"another", "7 bytes with sha256"),
        ("file.bin.gz", gzip.compress(CONTENT, mtime=0)[:-9], "no readable file"),
    ],
)
def test_a_wrong_file_in_the_folder_is_refused_without_download(server, place, tmp_path, name, content, found):
    (tmp_path / name).write_bytes(content)
    assert refusal(entry_of(server, "good"), place, tmp_path).startswith(f"{tmp_path / name}: found {found}")
    assert server.handler.asked == []


def test_rows_in_another_order_are_the_same_file(place, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"1,1\n0,1\n0,0\n")
    assert "sha256 of the sorted rows" in refusal(ROWS, place, tmp_path)
    (tmp_path / "file.bin").write_bytes(b"1,1\n0,1\r\n\n1,0\n")
    download.fetch("some", "file.bin", ROWS, place, tmp_path)
    assert download.checksum(place.read_bytes(), ROWS) == ROWS["sha256_rows"]


@pytest.mark.parametrize("setting", ["data_folder", "MEMVAE_DATA_FOLDER"])
def test_the_config_key_comes_before_the_variable_and_what_is_no_folder_is_refused(tmp_path, monkeypatch, setting):
    monkeypatch.setenv("MEMVAE_DATA_FOLDER", str(tmp_path if setting == "data_folder" else tmp_path / "none"))
    with pytest.raises(InputError, match=f"{setting}: found '{tmp_path}/none', expected a folder"):
        download.data_folder(f"{tmp_path}/none" if setting == "data_folder" else "")
    assert download.data_folder(str(tmp_path)) == Path(tmp_path)
    monkeypatch.delenv("MEMVAE_DATA_FOLDER")
    assert download.data_folder() is None
