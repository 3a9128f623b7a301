"""`/v1/files`: what OpenAI's own client does with it, and what a browser or a player asks of a download."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.media_files import PNG, png
from support.raw_http import exchange
from support.simulated_providers import SimulatedProviders

DATA = random.Random(3).randbytes(300_000)


@pytest.fixture(scope="module")
def keyed(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that wants keys."""
    folder = tmp_path_factory.mktemp("keyed")
    config = {
        "auth": {"mode": "keys"},
        "artifacts": {"max_file_mb": 128, "max_megapixels": 1},
        "providers": {"openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-openai"}},
    }
    with GatewayProcess(folder, json.dumps(config)) as process:
        yield process


@pytest.fixture(scope="module")
def sdk(keyed: GatewayProcess) -> Iterator[openai.OpenAI]:
    yield from client_of(keyed, "one")


@pytest.fixture(scope="module")
def stranger(keyed: GatewayProcess) -> Iterator[openai.OpenAI]:
    yield from client_of(keyed, "two")


def client_of(gateway: GatewayProcess, name: str) -> Iterator[openai.OpenAI]:
    made = run_polyroute("keys", "create", "--name", name, folder=gateway.folder)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=made.stdout.strip(), max_retries=0) as client:
        eventually(lambda: known(client))
        yield client


def known(client: openai.OpenAI) -> bool:
    try:
        client.models.list()
    except openai.AuthenticationError:
        return False
    return True


def test_the_official_client_uploads_looks_lists_reads_and_deletes(sdk: openai.OpenAI) -> None:
    made = sdk.files.create(file=("tiếng ü.bin", DATA), purpose="user_data")
    assert (made.object, made.bytes, made.filename, made.purpose) == ("file", len(DATA), "tiếng ü.bin", "user_data")
    assert made.status == "processed"
    assert abs(made.created_at - time.time()) < 60
    assert sdk.files.retrieve(made.id) == made.model_copy(update={"url": sdk.files.retrieve(made.id).url})
    assert made.id in [file.id for file in sdk.files.list()]
    content = sdk.files.content(made.id)
    assert content.read() == DATA
    assert sdk.files.delete(made.id).deleted is True
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        sdk.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        sdk.files.content(made.id)


def test_the_list_pages_in_both_orders_and_sorts_by_purpose(sdk: openai.OpenAI) -> None:
    mine = [sdk.files.create(file=(f"{n}.txt", b"page %d" % n), purpose="evals").id for n in range(5)]
    assert [file.id for file in sdk.files.list(purpose="evals", limit=2)] == mine[::-1]  # the client turns the pages
    assert [file.id for file in sdk.files.list(purpose="evals", limit=2, order="asc", after=mine[1])] == mine[2:]
    page = sdk.files.list(purpose="evals", limit=5)
    assert not page.has_more
    for identifier in mine:
        sdk.files.delete(identifier)


def test_a_file_is_its_uploaders_alone(sdk: openai.OpenAI, stranger: openai.OpenAI) -> None:
    made = sdk.files.create(file=("mine.txt", b"for me"), purpose="user_data")
    same = stranger.files.create(file=("theirs.txt", b"for me"), purpose="user_data")
    for ask in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(made.id)
    assert made.id not in [file.id for file in stranger.files.list()]
    sdk.files.delete(made.id)
    assert stranger.files.content(same.id).read() == b"for me", "the same bytes, and still theirs"


def test_what_an_image_is_is_told_from_its_bytes(sdk: openai.OpenAI) -> None:
    made = sdk.files.create(file=("holiday.mp4", PNG, "video/mp4"), purpose="vision").model_dump()
    assert (made["media_type"], made["width"], made["height"]) == ("image/png", 3, 2)


def test_a_signed_url_reads_without_a_key_until_it_is_touched(keyed: GatewayProcess, sdk: openai.OpenAI) -> None:
    made = sdk.files.create(file=("a.png", PNG), purpose="vision").model_dump()
    answer = httpx.get(keyed.url + made["url"], trust_env=False)
    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    other = sdk.files.create(file=("b.png", png(4, 4)), purpose="vision")
    moved = made["url"].replace(made["id"], other.id)
    longer = made["url"].replace("expires=", "expires=9")
    for url in (moved, longer, made["url"][:-1], made["url"].partition("&")[0] + "&signature="):
        refused = httpx.get(keyed.url + url, trust_env=False)
        assert refused.status_code == 403, url
        assert "signature" in refused.json()["error"]["message"]
    assert httpx.get(f"{keyed.url}/v1/files/{made['id']}/content", trust_env=False).status_code == 401
    assert httpx.get(keyed.url + made["url"].replace("/content", ""), trust_env=False).status_code == 401


def test_parts_of_a_file_as_a_player_asks_for_them(keyed: GatewayProcess, sdk: openai.OpenAI) -> None:
    url = keyed.url + sdk.files.create(file=("d.bin", DATA), purpose="user_data").model_dump()["url"]
    etag = f'"{hashlib.sha256(DATA).hexdigest()}"'
    size = len(DATA)
    asked = {
        "bytes=0-99": (206, DATA[:100], f"bytes 0-99/{size}"),
        "bytes=299900-": (206, DATA[299_900:], f"bytes 299900-299999/{size}"),
        "bytes=-7": (206, DATA[-7:], f"bytes 299993-299999/{size}"),
        "bytes=5-9999999": (206, DATA[5:], f"bytes 5-299999/{size}"),
        "bytes=300000-": (416, b"", f"bytes */{size}"),
        "bytes=0-1,5-6": (200, DATA, None),
        "lines=1-2": (200, DATA, None),
    }
    with httpx.Client(trust_env=False) as client:
        for header, (status, body, shown) in asked.items():
            answer = client.get(url, headers={"range": header})
            assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (status, body, shown)
        assert client.get(url, headers={"range": "bytes=0-9", "if-range": etag}).status_code == 206
        assert client.get(url, headers={"range": "bytes=0-9", "if-range": '"old"'}).content == DATA
        fresh = client.get(url, headers={"if-none-match": f'"x", {etag}'})
        assert (fresh.status_code, fresh.content, fresh.headers["etag"]) == (304, b"", etag)
        head = client.head(url)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")
        assert head.headers["content-disposition"].startswith("attachment; filename=")


@pytest.mark.parametrize(
    ("form", "status", "param", "words"),
    [
        ({"files": {"file": ("a", b"x")}}, 400, "purpose", "'purpose' is missing; possible are assistants"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "fun"}}, 400, "purpose", "cannot be 'fun'"),
        ({"files": {"file": ("a", b"")}, "data": {"purpose": "batch"}}, 400, "file", "'file' is empty"),
        ({"files": {"video": ("a", b"x")}, "data": {"purpose": "batch"}}, 400, "video", "the file is 'file'"),
        ({"files": {"x": (None, b"x")}, "data": {"purpose": "batch"}}, 400, "file", "has no file 'file'"),
        ({"files": [("file", ("a", b"x")), ("file", ("b", b"y"))], "data": {"purpose": "batch"}},
         400, "file", "more than once"),
        ({"files": {"file": ("a", png(1001, 1000))}, "data": {"purpose": "vision"}}, 400, "file", "1001 x 1000 pixels"),
        ({"files": {"file": ("a", PNG[:20])}, "data": {"purpose": "vision"}}, 400, "file", "broken or cut off"),
        ({"json": {"file": "x"}}, 400, "file", "multipart/form-data"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "batch", "expires_after[seconds]": "5"}},
         400, "expires_after[seconds]", "from 3600 to 2592000"),
    ],
)  # fmt: skip
def test_bad_uploads_are_refused_by_field_value_and_what_is_possible(
    keyed: GatewayProcess, sdk: openai.OpenAI, form: dict, status: int, param: str, words: str
) -> None:
    before = [file.id for file in sdk.files.list()]
    headers = {"authorization": f"Bearer {sdk.api_key}"}
    answer = httpx.post(f"{keyed.url}/v1/files", headers=headers, trust_env=False, **form)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]
    assert [file.id for file in sdk.files.list()] == before


def test_an_upload_over_the_limit_is_refused_before_it_is_read(keyed: GatewayProcess, sdk: openai.OpenAI) -> None:
    address = urlsplit(keyed.url)
    request = (
        f"POST /v1/files HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {sdk.api_key}\r\n"
        f"content-type: multipart/form-data; boundary=b\r\ncontent-length: {200 << 20}\r\n\r\n--b\r\n"
    )
    answer = exchange((address.hostname or "", address.port or 0), request.encode())
    assert answer.status == 413
    assert "128 MB" in answer.error()["message"]


def test_a_large_upload_and_download_are_not_held_in_memory(
    keyed: GatewayProcess, sdk: openai.OpenAI, tmp_path: Path
) -> None:
    from integration.test_uploads import peak_memory  # noqa: PLC0415

    path = tmp_path / "large.bin"
    path.write_bytes(random.Random(5).randbytes(1 << 20) * 100)
    warm = sdk.files.create(file=("warm.bin", DATA * 5), purpose="user_data")
    sdk.files.content(warm.id).read()
    before = peak_memory(keyed)
    made = sdk.files.create(file=path, purpose="user_data")
    digest = hashlib.sha256()
    with sdk.files.with_streaming_response.content(made.id) as content:
        for chunk in content.iter_bytes(1 << 16):
            digest.update(chunk)
    grown = peak_memory(keyed) - before
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
    assert grown <= 10 << 20, f"{grown / (1 << 20):.1f} MB"
    sdk.files.delete(made.id)


def test_operators_see_what_is_stored_and_delete_what_has_expired(keyed: GatewayProcess, sdk: openai.OpenAI) -> None:
    made = sdk.files.create(file=("seen.png", png(7, 5)), purpose="vision").model_dump()
    listed = json.loads(run_polyroute("artifacts", "list", "--json", folder=keyed.folder).stdout)
    [mine] = [row for row in listed if row["sha256"] == made["sha256"]]
    assert (mine["media_type"], mine["width"], mine["origin"]) == ("image/png", 7, "upload")
    shown = run_polyroute("artifacts", "show", mine["id"], "--json", folder=keyed.folder)
    answer = httpx.get(keyed.url + json.loads(shown.stdout)["url"], trust_env=False)
    assert answer.content == png(7, 5)
    assert run_polyroute("artifacts", "prune", folder=keyed.folder).stdout.startswith("0 file(s) deleted")
    missing = run_polyroute("artifacts", "show", "art_none", folder=keyed.folder)
    assert (missing.returncode, "no artifact 'art_none'" in missing.stderr) == (2, True)
