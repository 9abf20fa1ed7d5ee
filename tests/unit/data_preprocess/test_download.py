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
    """Serves `server.files`; cuts an answer short where `server.cuts` has lengths left for it."""

    def do_GET(self):
        server = self.server
        name = self.path.removeprefix("/release/")
        server.asked.append(name)
        data = server.files.get(name)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cuts = server.cuts.get(name)
        self.wfile.write(data[: cuts.pop() if cuts else None])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "FIRST_PAUSE_SECONDS", 0.01)
    here = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.files = FILES | {"SHA256SUMS.txt": sums(FILES)}
    here.asked, here.cuts = [], {}
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
    assert server.asked == ["SHA256SUMS.txt"]


def test_2019_comes_without_the_folder_above(tmp_path, server):
    assert fetch(server, tmp_path, name="physionet2019") == 0
    assert [*there(tmp_path)] == ["training_setB/p100001.psv"]
    assert fetch(server, tmp_path, "--sets", "A", "B", name="physionet2019") == 0
    assert {*there(tmp_path)} == {"training_setB/p100001.psv", "training_setA/p000001.psv"}


def test_a_cut_connection_is_tried_again_until_the_file_is_whole(tmp_path, server):
    server.cuts["set-a.tar.gz"] = [1000, 0]
    assert fetch(server, tmp_path) == 0
    assert there(tmp_path)["set-a.tar.gz"] == FILES["set-a.tar.gz"]
    assert server.asked.count("set-a.tar.gz") == 3


def test_a_connection_that_is_always_cut_ends_in_a_message_and_the_next_run_goes_on(
    tmp_path, server, caplog
):
    server.cuts["set-b.tar.gz"] = [10] * download.ATTEMPTS
    assert fetch(server, tmp_path) == 2
    assert "set-b.tar.gz: IncompleteRead" in caplog.text
    assert "set-b.tar.gz" not in there(tmp_path)
    kept = {*there(tmp_path)}
    server.asked.clear()
    assert fetch(server, tmp_path) == 0
    assert kept and not kept & {*server.asked}
    assert there(tmp_path)["set-b.tar.gz"] == FILES["set-b.tar.gz"]


def test_what_an_ended_run_left_is_written_anew(tmp_path, server):
    (tmp_path / "set-a.tar.gz.part").write_bytes(FILES["set-a.tar.gz"][:77])
    assert fetch(server, tmp_path) == 0
    names = ("set-a.tar.gz", "Outcomes-a.txt", "set-b.tar.gz", "Outcomes-b.txt")
    assert there(tmp_path) == {name: FILES[name] for name in names}


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
