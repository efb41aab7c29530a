"""Raw files come from the user's folder or a home, whole and right, or there is one line that says why not."""

import contextlib
import gzip
import hashlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import faults
import pytest

from memvae.data import download
from memvae.errors import InputError

CONTENT = bytes(range(256)) * 1024  # 256 kB: several chunks
RIGHT = {"sha256": hashlib.sha256(CONTENT).hexdigest()}
ROWS = {"sha256_rows": hashlib.sha256(b"0,1\n1,0\n1,1").hexdigest()}


class Home(BaseHTTPRequestHandler):
    """/<behaviour>/<file>; remembers what was asked, and with which User-Agent."""

    asked: list[str]
    agents: list[str]

    def do_GET(self):
        type(self).asked.append(self.path)
        type(self).agents.append(self.headers["User-Agent"])
        behaviour = self.path.split("/")[1]
        if behaviour == "recovers":
            behaviour = "good" if self.asked.count(self.path) == 3 else "503"
        if behaviour.isdigit():
            self.send_error(int(behaviour))
            return
        if behaviour in ("elsewhere", "login"):
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/file" if behaviour == "elsewhere" else "/page/login")
            self.end_headers()
            return
        body = {"page": b"<!DOCTYPE html>\n<html>Not here</html>", "wrong": CONTENT[:-1] + b"?"}.get(behaviour, CONTENT)
        self.send_response(200)
        if behaviour != "unsaid":
            self.send_header("Content-Length", str(10**12 if behaviour == "huge" else len(body)))
        self.end_headers()
        if behaviour == "slow":
            with contextlib.suppress(OSError):  # the other side has had enough
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.01)
            return
        self.wfile.write(body[:1000] if behaviour == "truncated" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """The address of a server of this machine; http is allowed and nothing is waited for."""
    handler = type("Handler", (Home,), {"asked": [], "agents": []})
    running = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setattr(download, "SCHEMES", ("https", "http"))
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0))
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
    assert "\n" not in line
    assert "scale=demo" in line
    return line


def test_a_home_delivers_the_file_with_progress(server, place):
    lines = []
    download.fetch("some", "file.bin", entry_of(server, "good"), place, None, lines.append)
    assert place.read_bytes() == CONTENT
    assert [p.name for p in place.parent.iterdir()] == ["file.bin"]
    shares = [int(line.split()[1]) for line in lines if line.endswith(" % of 0.3 MB")]  # as much as each time was there
    assert shares == sorted(set(shares)) and shares[-1] == 100 and not any(share % 10 for share in shares)
    assert server.handler.asked == ["/good/file.bin"]
    assert server.handler.agents[0].startswith("memvae/")


def test_a_home_that_does_not_say_the_length_delivers_too(server, place):
    download.fetch("some", "file.bin", entry_of(server, "unsaid"), place, None)
    assert place.read_bytes() == CONTENT


def test_a_valid_destination_is_left_alone(server, place, tmp_path):
    place.parent.mkdir()
    place.write_bytes(CONTENT)
    before = place.stat().st_mtime_ns
    download.fetch("some", "file.bin", entry_of(server, "good"), place, tmp_path / "no such folder")
    assert place.stat().st_mtime_ns == before and server.handler.asked == []


def test_a_damaged_destination_is_replaced(server, place):
    place.parent.mkdir()
    place.write_bytes(CONTENT[:77])
    download.fetch("some", "file.bin", entry_of(server, "good"), place, None)
    assert place.read_bytes() == CONTENT


def test_a_damaged_destination_stays_what_it_was_when_nothing_better_is_found(server, place):
    place.parent.mkdir()
    place.write_bytes(CONTENT[:77])
    with pytest.raises(InputError):
        download.fetch("some", "file.bin", entry_of(server, "truncated"), place, None)
    assert place.read_bytes() == CONTENT[:77]
    assert [p.name for p in place.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize(
    ("behaviour", "found", "tries"),
    [
        ("404", "HTTP 404", 1),
        ("503", "HTTP 503", 3),
        ("truncated", "1,000 of 262,144 bytes", 3),
        ("page", "an HTML page (37 bytes)", 1),
        ("wrong", "262,144 bytes with sha256 ", 1),
        ("huge", "more than 200,000,000 bytes", 1),
        ("elsewhere", "redirected to ftp://127.0.0.1/file", 1),
        ("login", "an HTML page (37 bytes)", 2),
    ],
)
def test_what_a_home_does_wrong_is_named(server, place, behaviour, found, tries):
    with faults.injected(f"download: {behaviour}", "one home"):
        line = refusal(entry_of(server, behaviour), place)
        assert found in line
    assert RIGHT["sha256"] in line and "<folder>/some/file.bin" in line and "MEMVAE_DATA_FOLDER" in line
    assert len(server.handler.asked) == tries


def test_every_home_has_its_part_of_the_line(server, place):
    line = refusal(entry_of(server, "404", "page", "truncated"), place)
    assert "HTTP 404" in line and "HTML page" in line and "1,000 of" in line


def test_a_home_that_sends_a_few_bytes_at_a_time_for_ever_is_given_up(server, place, monkeypatch):
    """Each byte comes in time, so that no single wait is too long."""
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    assert "slower than 1,000 a second" in refusal(entry_of(server, "slow"), place)
    assert len(server.handler.asked) == 1


@pytest.mark.parametrize("first", ["404", "503", "truncated", "page", "login", "wrong", "huge", "slow", "elsewhere"])
def test_the_second_home_helps_when_the_first_is_bad(server, place, monkeypatch, first):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with faults.injected(f"download: {first}", "first of two homes"):
        download.fetch("some", "file.bin", entry_of(server, first, "good"), place, None)
        assert place.read_bytes() == CONTENT


def test_a_home_is_asked_three_times(server, place):
    download.fetch("some", "file.bin", entry_of(server, "recovers"), place, None)
    assert place.read_bytes() == CONTENT and len(server.handler.asked) == 3


def test_a_file_without_stated_length_that_never_ends_is_cut_off(server, place, monkeypatch):
    monkeypatch.setattr(download, "LIMIT", 100_000)
    assert "more than 100,000 bytes" in refusal(entry_of(server, "unsaid"), place)


def test_a_refused_connection_is_named(server, place):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        home = f"http://127.0.0.1:{free.getsockname()[1]}/"
    assert "no connection (Connection refused)" in refusal(RIGHT | {"homes": [home]}, place)


def test_no_network_is_named(server, place, monkeypatch):
    def fail(*args, **options):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    line = refusal(RIGHT | {"homes": ["https://somewhere.example/"]}, place)
    assert "somewhere.example: no network (Temporary failure in name resolution)" in line


def test_a_silent_home_is_given_up(server, place, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        home = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert "timed out" in refusal(RIGHT | {"homes": [home]}, place)


@pytest.mark.parametrize("home", ["file:///etc/", "ftp://127.0.0.1/", "http://127.0.0.1/"])
def test_only_https_homes_are_asked(place, home):
    assert "does not begin with https" in refusal(RIGHT | {"homes": [home]}, place)


@pytest.mark.parametrize("where", ["some/file.bin", "file.bin", "some/file.bin.gz", "file.bin.gz"])
def test_the_users_folder_comes_before_any_download(server, place, tmp_path, where):
    path = tmp_path / "folder" / where
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(CONTENT, mtime=0) if where.endswith(".gz") else CONTENT)
    download.fetch("some", "file.bin", entry_of(server, "good"), place, tmp_path / "folder")
    assert place.read_bytes() == CONTENT and server.handler.asked == []


def test_a_gz_that_is_the_file_itself_is_not_unpacked(server, tmp_path):
    packed = gzip.compress(CONTENT, mtime=0)
    (tmp_path / "file.gz").write_bytes(packed)
    entry = {"sha256": hashlib.sha256(packed).hexdigest(), "homes": []}
    download.fetch("some", "file.gz", entry, tmp_path / "raw/file.gz", tmp_path)
    assert (tmp_path / "raw/file.gz").read_bytes() == packed


def test_a_file_that_the_folder_lacks_is_downloaded(server, place, tmp_path):
    download.fetch("some", "file.bin", entry_of(server, "good"), place, tmp_path)
    assert place.read_bytes() == CONTENT


def test_the_folder_is_named_when_nothing_is_found(server, place, tmp_path):
    assert f"{tmp_path}: missing; 127.0.0.1:" in refusal(entry_of(server, "404"), place, tmp_path)


def test_a_wrong_file_in_the_folder_is_refused_without_download(server, place, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"another")
    line = refusal(entry_of(server, "good"), place, tmp_path)
    assert line.startswith(f"{path}: found 7 bytes with sha256 ") and RIGHT["sha256"] in line
    assert server.handler.asked == []


def test_a_damaged_gz_in_the_folder_is_refused(server, place, tmp_path):
    (tmp_path / "file.bin.gz").write_bytes(gzip.compress(CONTENT, mtime=0)[:-9])
    assert "found no readable gz file" in refusal(entry_of(server, "good"), place, tmp_path)


def test_a_gz_in_the_folder_that_unpacks_without_end_is_refused(server, place, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LIMIT", 100_000)
    (tmp_path / "file.bin.gz").write_bytes(gzip.compress(CONTENT, mtime=0))
    assert "more than 100,000 bytes" in refusal(entry_of(server, "good"), place, tmp_path)


def test_a_folder_that_does_not_exist_is_refused(server, place, tmp_path):
    line = refusal(entry_of(server, "good"), place, tmp_path / "nowhere")
    assert "nowhere, expected an existing folder" in line and server.handler.asked == []


def test_rows_in_another_order_are_the_same_file(place, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"1,1\n0,1\r\n\n1,0\n")
    download.fetch("some", "file.bin", ROWS, place, tmp_path)
    assert download.checksum(place, ROWS) == ROWS["sha256_rows"]


def test_another_row_is_another_file(place, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"1,1\n0,1\n0,0\n")
    assert "sha256 of the sorted rows" in refusal(ROWS, place, tmp_path)


def test_a_place_that_cannot_be_written_is_refused(server, tmp_path):
    (tmp_path / "raw").write_text("a file, no folder")
    with pytest.raises(InputError, match="cannot be written"):
        download.fetch("some", "file.bin", entry_of(server, "good"), tmp_path / "raw/file.bin", None)


def test_a_full_disk_leaves_nothing_behind(server, place, monkeypatch):
    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "fsync", fail)
    with pytest.raises(InputError, match="No space left on device"):
        download.fetch("some", "file.bin", entry_of(server, "good"), place, None)
    assert not list(place.parent.iterdir())


def test_the_config_key_comes_before_the_environment_variable(monkeypatch):
    monkeypatch.setenv("MEMVAE_DATA_FOLDER", "/from/environment")
    assert download.data_folder("/from/config") == Path("/from/config")
    assert download.data_folder("") == Path("/from/environment")
    monkeypatch.delenv("MEMVAE_DATA_FOLDER")
    assert download.data_folder("") is None


@pytest.mark.parametrize("setting", ["data_folder", "MEMVAE_DATA_FOLDER"])
def test_a_data_folder_that_is_none_is_refused_by_its_setting(tmp_path, monkeypatch, setting):
    monkeypatch.delenv("MEMVAE_DATA_FOLDER", raising=False)
    absent = str(tmp_path / "absent")
    if setting == "MEMVAE_DATA_FOLDER":
        monkeypatch.setenv(setting, absent)
    key = absent if setting == "data_folder" else ""
    with pytest.raises(InputError, match=f"{setting}: found '{absent}', expected a folder"):
        download.check_folder(key)
    (tmp_path / "absent").mkdir()
    download.check_folder(key)
