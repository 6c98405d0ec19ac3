import hashlib
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from filelock import FileLock

from qprune_cli.errors import UserError
from qprune_cli.fetch import download as module
from qprune_cli.fetch import fetch as fetching
from qprune_cli.fetch.download import RemoteFile, download
from qprune_cli.fetch.fetch import fetch, unpack
from tests.data.test_sidd import write_scenes
from tests.images.test_mat import write_validation

CONTENT = np.random.default_rng(0).bytes(700_000)
PATIENT = {"patience": 3, "pause": 0.001}


class Server(ThreadingHTTPServer):
    """Serves ``files``; misbehaves as it is told to and remembers what it was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.cut_after = None  # bytes after which it drops the connection, for the first ``cuts`` answers
        self.cuts = 0
        self.ranges = True
        self.asked = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        content = self.server.files.get(self.path.strip("/"))
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and self.server.ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.server.cuts > 0:
            self.server.cuts -= 1
            body = body[: self.server.cut_after]
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    with Server() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        running.files["share/data.bin"] = CONTENT
        yield running
        running.shutdown()


def remote(content=CONTENT, **digests):
    return RemoteFile("share/data.bin", len(content), digests or {"md5": hashlib.md5(content).hexdigest()})


def test_file_is_downloaded_and_not_again(tmp_path, server):
    for _ in range(2):
        assert download(remote(), server.address, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None] and [path.name for path in tmp_path.iterdir()] == ["data.bin"]


def test_download_goes_on_after_cuts(tmp_path, server):
    server.cuts, server.cut_after = 2, 300_000
    assert download(remote(), server.address, tmp_path, **PATIENT).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-"]


def test_later_attempt_goes_on_where_the_first_gave_up(tmp_path, server):
    server.cuts, server.cut_after = 99, 0
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:100_000])
    with pytest.raises(UserError, match=r"stopped after 100,000 of 700,000 bytes.*run the same command again"):
        download(remote(), server.address, tmp_path, **PATIENT)
    assert not (tmp_path / "data.bin").exists() and (tmp_path / "data.bin.part").stat().st_size == 100_000
    server.cuts = 0
    assert download(remote(), server.address, tmp_path, **PATIENT).read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=100000-"


def test_server_without_ranges_begins_anew(tmp_path, server):
    server.ranges, server.cuts, server.cut_after = False, 1, 300_000
    assert download(remote(), server.address, tmp_path, **PATIENT).read_bytes() == CONTENT


def test_wrong_bytes_never_get_the_name(tmp_path, server):
    server.files["share/data.bin"] = CONTENT[:-1] + b"\0"
    with pytest.raises(UserError, match=r"its md5 is .* published is .*; it was deleted"):
        download(remote(), server.address, tmp_path)
    assert not list(tmp_path.iterdir())


def test_longer_and_shorter_files_are_refused(tmp_path, server):
    server.files["share/data.bin"] = CONTENT + b"more"
    with pytest.raises(UserError, match="has 700,004 bytes, the published file 700,000"):
        download(remote(), server.address, tmp_path / "a", **PATIENT)
    server.files["share/data.bin"] = CONTENT[:1000]
    with pytest.raises(UserError, match="has 1,000 bytes, the published file 700,000"):
        download(remote(), server.address, tmp_path / "b", **PATIENT)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "data.bin.part").write_bytes(CONTENT + b"x")
    with pytest.raises(UserError, match="has 700,001 bytes"):
        download(remote(), server.address, tmp_path / "c", **PATIENT)
    assert not list((tmp_path / "c").iterdir())


def test_error_page_does_not_wipe_what_is_there(tmp_path, server):
    server.files["share/data.bin"], server.ranges = b"<html>log in</html>", False
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(UserError, match="has 19 bytes, the published file 700,000"):
        download(remote(), server.address, tmp_path, **PATIENT)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:1000]


def test_file_that_is_there_already_is_verified(tmp_path, server):
    (tmp_path / "data.bin").write_bytes(CONTENT[::-1])
    for content in (CONTENT[::-1], CONTENT[:10]):
        (tmp_path / "data.bin").write_bytes(content)
        with pytest.raises(UserError, match=r"data\.bin: is in the way and .*move it away and fetch again"):
            download(remote(), server.address, tmp_path, **PATIENT)
        assert (tmp_path / "data.bin").read_bytes() == content
    assert server.asked == []


def test_second_process_is_refused_as_often_as_it_tries(tmp_path, server):
    with FileLock(tmp_path / ".data.bin.lock"):
        for _ in range(3):
            with pytest.raises(UserError, match="another process downloads it"):
                download(remote(), server.address, tmp_path, **PATIENT)
    assert download(remote(), server.address, tmp_path).is_file()


def test_folder_that_cannot_be_made_is_one_sentence(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        download(remote(), server.address, tmp_path / "file" / "below")


def test_address_without_a_scheme_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--server example\.org"):
        download(remote(), "example.org", tmp_path)


def test_missing_file_and_silent_server_are_one_sentence(tmp_path, server):
    with pytest.raises(UserError, match=r"404.*--server ADDRESS"):
        download(RemoteFile("nothing", 5), server.address, tmp_path)
    with pytest.raises(UserError, match="stopped after 0 of"):
        download(remote(), "http://127.0.0.1:9", tmp_path, **PATIENT)


def test_full_disk_is_said_before_and_during_a_download(tmp_path, server, monkeypatch):
    with pytest.raises(UserError, match=r"needs 931322.6 GiB"):
        download(RemoteFile("share/data.bin", 10**15), server.address, tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(module, "_append", full)
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:1000])
    with pytest.raises(UserError, match="no space left; make room"):
        download(remote(), server.address, tmp_path)
    assert (tmp_path / "data.bin.part").read_bytes() == CONTENT[:1000]


def zipped(tmp_path, make):
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as file:
        make(file)
    return archive


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "C:/out.txt"])
def test_archive_that_reaches_outside_is_not_unpacked(tmp_path, name):
    archive = zipped(tmp_path, lambda file: (file.writestr("good.txt", "x"), file.writestr(name, "x")))
    with pytest.raises(UserError, match="outside of its folder"):
        unpack(archive, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["made.zip"] and not (tmp_path.parent / "out.txt").exists()


def test_link_in_an_archive_is_refused(tmp_path):
    def make(file):
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc")

    with pytest.raises(UserError, match="outside of its folder"):
        unpack(zipped(tmp_path, make), tmp_path / "target")


def test_truncated_archive_is_one_sentence_and_leaves_no_folder(tmp_path):
    archive = zipped(tmp_path, lambda file: file.writestr("a.txt", CONTENT[:3000], zipfile.ZIP_DEFLATED))
    whole = archive.read_bytes()
    for broken in (whole[:-30], *(whole[:k] + bytes([whole[k] ^ 255]) + whole[k + 1 :] for k in range(40, 90))):
        archive.write_bytes(broken)
        with pytest.raises(UserError, match="damaged archive"):
            unpack(archive, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["made.zip"]


def test_data_set_is_fetched_unpacked_and_not_fetched_again(tmp_path, server, monkeypatch):
    write_scenes(tmp_path / "made" / "SIDD_Small_sRGB_Only", scenes=1)
    archive = shutil.make_archive(str(tmp_path / "SIDD_Small_sRGB_Only"), "zip", tmp_path / "made")
    content = (tmp_path / "SIDD_Small_sRGB_Only.zip").read_bytes()
    server.files["SIDD_Small_sRGB_Only.zip"] = content
    official = RemoteFile("SIDD_Small_sRGB_Only.zip", len(content), {"sha1": hashlib.sha1(content).hexdigest()})
    monkeypatch.setitem(fetching.ARCHIVES, "sidd_small", official)
    assert archive
    for _ in range(2):
        assert "2 noisy frames; use them with data=sidd" in fetch("sidd_small", tmp_path / "to", server.address)
    assert len(server.asked) == 1
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["SIDD_Small_sRGB_Only"]
    assert len(list((tmp_path / "to" / "SIDD_Small_sRGB_Only" / "Data").iterdir())) == 2


def test_validation_files_are_fetched_and_looked_into(tmp_path, server, monkeypatch):
    write_validation(tmp_path, (1, 2, 256, 256, 3))
    remotes = []
    for name in (fetching.NOISY, fetching.CLEAN):
        content = (tmp_path / f"{name}.mat").read_bytes()
        server.files[f"SIDD_Blocks/{name}.mat"] = content
        remotes.append(RemoteFile(f"SIDD_Blocks/{name}.mat", len(content)))
    monkeypatch.setattr(fetching, "VALIDATION", tuple(remotes))
    assert "2 blocks" in fetch("sidd_validation", tmp_path / "to", server.address)
    assert "2 blocks" in fetch("sidd_validation", tmp_path / "to", server.address) and len(server.asked) == 2
    note = tmp_path / "to" / "SIDD_Validation" / f"{fetching.NOISY}.mat.sha256"
    assert note.read_text().split()[0] == hashlib.sha256((tmp_path / f"{fetching.NOISY}.mat").read_bytes()).hexdigest()
    path = note.with_suffix("")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match=r"no longer what was fetched|move both files away"):
        fetch("sidd_validation", tmp_path / "to", server.address)
