"""The parts of the predict benchmark: what its load sends, and what it counts."""

import math
import socket
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

import httpx
import pytest
from PIL import Image

from benchmarks.predict.figures import count_silent_refusals, find_median, find_percentile, summarize
from benchmarks.predict.load import BROKEN, OK, TIMED_OUT, Clients, Rate, Target, Try, run_load
from benchmarks.predict.pictures import read_pictures, write_pictures
from benchmarks.predict.store_reads import count_reads
from tests.http_servers import serve_http


class Server:
    """Refuses every third request, with Retry-After."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.sizes: set[int] = set()
        self.url = ""

    def choose_status(self) -> int:
        return 429 if len(self.paths) % 3 == 0 else OK


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            state.sizes.add(len(self.rfile.read(int(self.headers["Content-Length"]))))
            state.paths.append(self.path)
            self.send_response(state.choose_status())
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path, count=3)


def test_percentile_is_the_least_value_that_so_many_do_not_exceed() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert (find_percentile(values, 50), find_percentile(values, 99), find_percentile([7.0], 99)) == (50, 99, 7)
    assert math.isnan(find_percentile([], 50))


def test_median_leaves_out_what_was_not_measured() -> None:
    assert find_median([1.0, math.nan, 3.0]) == 2
    assert math.isnan(find_median([math.nan]))


def test_only_answers_of_the_window_count_and_a_picture_waits_from_its_first_try_on() -> None:
    tries = [
        Try(0.0, 0.0, 0.9, OK, None),  # too early
        Try(0.5, 0.5, 1.0, 429, 1.0),
        Try(0.5, 2.0, 2.5, OK, None),
        Try(2.0, 2.0, 2.9, 500, None),
        Try(2.0, 2.0, 3.0, OK, None),  # too late
    ]

    figures = summarize(tries, since=1.0, until=3.0)

    assert figures == (0.5, 2000.0, 2000.0, {429: 1, 503: 0}, 1)


def test_refusal_without_retry_after_is_counted() -> None:
    assert count_silent_refusals([Try(0, 0, 1, 503, None), Try(0, 0, 1, 503, 1.0), Try(0, 0, 1, OK, None)]) == 1


def test_pictures_are_the_same_each_time_and_within_their_sides(tmp_path: Path) -> None:
    first, again = (read_pictures(write_pictures(tmp_path / name, count=8)) for name in ("a", "b"))

    assert first == again
    sides = [side for picture in first for side in Image.open(BytesIO(picture)).size]
    assert min(sides) >= 224
    assert max(sides) <= 1024


def test_refused_request_is_sent_again_until_it_is_served(server: Server, pictures: Path) -> None:
    target = Target([f"{server.url}/a", f"{server.url}/b"], "secret", pictures)

    tries = run_load(Clients(target, clients=4, at_least=10))

    statuses = Counter(one.status for one in tries)
    assert statuses[OK] == 10
    assert statuses[429] == len(server.paths) - 10 > 0
    assert set(server.paths) == {"/a", "/b"}
    assert server.sizes == {len(picture) for picture in read_pictures(pictures)}


def test_requests_come_at_their_rate_whatever_is_answered(server: Server, pictures: Path) -> None:
    tries = run_load(Rate(Target([f"{server.url}/a"], "secret", pictures), 50, seconds=0.4, timeout_seconds=5))

    assert len(tries) == len(server.paths) == 20
    assert all(one.sent >= number / 50 - 0.001 for number, one in enumerate(sorted(tries, key=lambda one: one.sent)))


def test_client_gives_up_on_a_server_that_does_not_answer(pictures: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = Target([f"http://127.0.0.1:{silent.getsockname()[1]}/a"], "secret", pictures)
        tries = run_load(Rate(target, 50, seconds=0.1, timeout_seconds=0.2))

    assert [one.status for one in tries] == [TIMED_OUT] * 5


def test_server_that_is_away_breaks_requests_and_not_the_load(pictures: Path) -> None:
    tries = run_load(Rate(Target(["http://127.0.0.1:9/"], "secret", pictures), 50, seconds=0.1, timeout_seconds=1))

    assert [one.status for one in tries] == [BROKEN] * 5


def test_reads_of_the_one_path_are_counted() -> None:
    with serve_http(b"weights") as url, count_reads(url, "/bucket/weights") as reads:
        answers = [httpx.get(reads.url + path, trust_env=False).content for path in ("/bucket/weights", "/bucket/card")]
        httpx.head(f"{reads.url}/bucket/weights", trust_env=False)

    assert answers == [b"weights"] * 2
    assert reads.count == 1
    assert reads.read_bytes >= 14
