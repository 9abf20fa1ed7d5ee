"""Downloads against a server of our own: checksums, resumption, and what may go wrong."""

import hashlib
import http.server
import threading

import pytest

from data_preprocess import download
from data_preprocess.download import main

FILES = {
    "set-a.tar.gz": bytes(range(256)) * 1000,
    "Outcomes-a.txt": b"RecordID\n1\n",
    "set-b.tar.gz": b"b" * 1000,
    "Outcomes-b.txt": b"RecordID\n2\n",
    "set-c.tar.gz": b"not asked for",
    "training/training_setB/p100001.psv": b"HR|Temp\n",
    "training/training_setA/p000001.psv": b"HR|Temp\n",
}


def sums(files):
    lines = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in files.items()]
    return "\n".join(lines).encode() + b"\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`, with ranges unless told not to; may cut an answer short once."""

    def do_GET(self):
        server = self.server
        name = self.path.removeprefix("/release/")
        server.asked.append((name, self.headers.get("Range")))
        data = server.files.get(name)
        if data is None:
            self.send_error(404)
            return
        start = 0
        if self.headers.get("Range") and server.ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = server.cuts.pop(name, None)
        self.wfile.write(data[start:cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)
    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.files = FILES | {"SHA256SUMS.txt": sums(FILES)}
    here.asked, here.cuts, here.ranges = [], {}, True
    here.address = f"http://127.0.0.1:{here.server_port}/release"
    thread = threading.Thread(target=here.serve_forever, daemon=True)
    thread.start()
    yield here
    here.shutdown()
    here.server_close()
    thread.join()


def fetch(server, folder, *more, name="physionet2012"):
    return main([name, "--folder", str(folder), "--address", server.address, *more])


def there(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_four_files_arrive_and_are_not_fetched_again(tmp_path, server):
    assert fetch(server, tmp_path) == 0
    names = ("set-a.tar.gz", "Outcomes-a.txt", "set-b.tar.gz", "Outcomes-b.txt")
    assert there(tmp_path) == {name: FILES[name] for name in names}
    server.asked.clear()
    assert fetch(server, tmp_path) == 0
    assert server.asked == [("SHA256SUMS.txt", None)]


def test_2019_comes_without_the_folder_above(tmp_path, server):
    assert fetch(server, tmp_path, name="physionet2019") == 0
    assert [*there(tmp_path)] == ["training_setB/p100001.psv"]
    assert fetch(server, tmp_path, "--sets", "A", "B", name="physionet2019") == 0
    assert {*there(tmp_path)} == {"training_setB/p100001.psv", "training_setA/p000001.psv"}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_connection_is_resumed(tmp_path, server, ranges):
    server.ranges, server.cuts["set-a.tar.gz"] = ranges, 1000
    assert fetch(server, tmp_path) == 0
    assert there(tmp_path)["set-a.tar.gz"] == FILES["set-a.tar.gz"]
    asked = [span for name, span in server.asked if name == "set-a.tar.gz"]
    assert asked == [None, "bytes=1000-"]


def test_an_earlier_run_is_resumed_even_at_its_last_byte(tmp_path, server):
    (tmp_path / "set-a.tar.gz.part").write_bytes(FILES["set-a.tar.gz"][:77])
    (tmp_path / "set-b.tar.gz.part").write_bytes(FILES["set-b.tar.gz"])
    assert fetch(server, tmp_path) == 0
    assert ("set-a.tar.gz", "bytes=77-") in server.asked
    assert there(tmp_path)["set-b.tar.gz"] == FILES["set-b.tar.gz"]


def test_a_file_that_was_changed_is_replaced(tmp_path, server):
    assert fetch(server, tmp_path) == 0
    (tmp_path / "Outcomes-a.txt").write_bytes(b"edited")
    assert fetch(server, tmp_path) == 0
    assert there(tmp_path)["Outcomes-a.txt"] == FILES["Outcomes-a.txt"]


def test_other_content_than_promised_is_refused_and_not_kept(tmp_path, server, caplog):
    server.files = server.files | {"set-b.tar.gz": b"x" * 1000}
    assert fetch(server, tmp_path) == 2
    assert "set-b.tar.gz: its SHA-256 is" in caplog.text
    assert not list(tmp_path.glob("set-b*"))


def test_absent_files_servers_and_sets_are_one_message(tmp_path, server, caplog):
    assert fetch(server, tmp_path, "--sets", "z") == 2
    assert "--sets z: physionet2012 has" in caplog.text
    del server.files["set-b.tar.gz"]
    assert fetch(server, tmp_path) == 2
    assert "set-b.tar.gz: HTTP Error 404" in caplog.text and "by hand" in caplog.text
    server.files["SHA256SUMS.txt"] = b"<html>"
    assert fetch(server, tmp_path) == 2
    assert "lists no file of set a, b" in caplog.text
    gone = ["--folder", str(tmp_path), "--address", "http://127.0.0.1:9/none"]
    assert main(["physionet2012", *gone]) == 2
    assert "SHA256SUMS.txt: <urlopen error" in caplog.text
