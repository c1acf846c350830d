"""What lies at a URL: a folder, one video, a list; odd keys; what is refused."""

import http.server
import threading
from functools import partial

import pytest

from cache_builder import open_videos
from cache_builder.errors import ConfigError, InputFolderError
from cache_builder.sources import Sources, default_output, look_into
from cache_builder.staging import StageSettings
from frame_store.remote import ObjectClient, RemoteUrl


@pytest.fixture
def client(bucket_folder):
    return ObjectClient(RemoteUrl.of(bucket_folder))


def sources(*places, folder, **more):
    return Sources(
        paths=Sources.of(places, **more).paths,
        camera_pattern=Sources.of(places, **more).camera_pattern,
        stage=StageSettings(path=folder, max_bytes=1000),
    )


def names(contents):
    return [video.relative_path for video in contents.videos]


def test_a_folder_with_odd_keys(client, tmp_path):
    keys = [
        "b.mp4",
        "a dir/ü #1?.MP4",
        "a dir/100%41.mkv",
        "~/x.mp4",
        "x/.git/y.mp4",
        "x/.git/z.mp4",
        "t.txt",
    ]
    for key in [*keys, ".h.mp4"]:
        client.put(key, b"12345")
    client.put("x", b"")  # consoles mark folders so
    contents = look_into(sources(client.url, folder=tmp_path))
    assert names(contents) == ["a dir/100%41.mkv", "a dir/ü #1?.MP4", "b.mp4", "~/x.mp4"]
    assert contents.passed_over.text == "passed over by extension: 1 .txt; passed over as hidden: 2"
    for video in contents.videos:
        assert video.path.parent == tmp_path / "frame-cache-stage"
        assert video.path.suffix in {".mp4", ".mkv"} and video.path.stem.isalnum()
        with video.at_hand() as path:
            assert path == video.path and path.read_bytes() == b"12345"
    assert {path.name for path in tmp_path.iterdir()} == {"frame-cache-stage"}


def test_the_status_of_an_object_tells_contents_of_one_second_apart(client, tmp_path):
    found = set()
    for content in (b"12345", b"54321"):
        client.put("a.mp4", content)
        (video,) = look_into(sources(client.url, folder=tmp_path)).videos
        (alone,) = look_into(sources(client.url.child("a.mp4"), folder=tmp_path)).videos
        assert video.status() == alone.status()  # a list and a single object tell the same
        assert video.path == alone.path
        found.add(video.status().mtime_ns % 10**9)
    assert len(found) == 2


def test_a_list_in_a_bucket_and_one_on_this_machine(client, tmp_path):
    for key in ("v/a.mp4", "v/sub/b.mp4", "c.mp4"):
        client.put(key, b"12345")
    bucket, _, folder = client.url.text.removeprefix("s3://").partition("/")
    client.put("v/list.txt", b"sub/b.mp4\n# x\n./a.mp4\n")
    assert names(look_into(sources(client.url.child("v/list.txt"), folder=tmp_path))) == [
        "sub/b.mp4",
        "a.mp4",
    ]
    client.put("v/list.txt", f"sub/b.mp4\ns3://{bucket}/{folder}/c.mp4\n".encode())
    assert names(look_into(sources(client.url.child("v/list.txt"), folder=tmp_path))) == [
        "v/sub/b.mp4",
        "c.mp4",
    ]
    local = tmp_path / "list.txt"
    local.write_text(f"{client.url.text}/v/a.mp4\n{client.url.text}/c.mp4\n")
    assert names(look_into(sources(local, folder=tmp_path))) == ["v/a.mp4", "c.mp4"]
    local.write_text(
        f"{client.url.text}/gone.mp4\nhere.mp4\n{client.url.text}/c.mp4\n{client.url.text}/c.mp4\ns3://k:PLANTED@b/a.mp4\n"
    )
    with pytest.raises(InputFolderError) as error:
        look_into(sources(local, folder=tmp_path))
    lines = str(error.value).splitlines()
    assert [line.strip()[:7] for line in lines[1:]] == ["line 1:", "line 2:", "line 4:", "line 5:"]
    assert "PLANTED" not in str(error.value)
    client.put("v/list.txt", b"../../../../x.mp4\n")
    with pytest.raises(InputFolderError, match="leads out of the bucket"):
        look_into(sources(client.url.child("v/list.txt"), folder=tmp_path))


def test_cameras_and_several_sources(client, tmp_path):
    for key in ("e1/left.mp4", "e1/right.mp4", "e2/left.mp4"):
        client.put(key, b"12345")
    pattern = "{episode}/{camera}.mp4"
    contents = look_into(sources(client.url, folder=tmp_path, camera_pattern=pattern))
    assert contents.cameras == ("left", "right")
    assert [video.problem is None for video in contents.videos] == [True, False, True, False]
    both = look_into(sources(client.url.child("e1"), client.url.child("e2"), folder=tmp_path))
    assert names(both) == ["e1/left.mp4", "e1/right.mp4", "e2/left.mp4"]
    with pytest.raises(ConfigError, match="are one file"):
        look_into(sources(client.url, client.url.child("e1"), folder=tmp_path))


@pytest.mark.parametrize(
    ("key", "path", "why"),
    [
        ("a.txt", "", r"holds no video \(passed over by extension: 1 .txt\)"),
        ("a.txt", "none", "no such folder or object"),
        ("meta/info.json", "", "is a LeRobot data set.*download it"),
        ("manifest-0000.json", "", "is a cache"),
        ("a.bin", "a.bin", "is neither a folder nor an object"),
    ],
)
def test_what_is_no_source(client, key, path, why, tmp_path):
    client.put(key, b"\0")
    with pytest.raises(InputFolderError, match=f"s3://.*: {why}"):
        look_into(sources(client.url.child(path), folder=tmp_path))


def test_a_url_needs_an_output_and_is_no_live_store(client, tmp_path):
    client.put("a.mp4", b"12345")
    with pytest.raises(ConfigError, match="is a URL: give out"):
        default_output(client.url)
    with pytest.raises(ConfigError, match="a live store reads files of this machine"):
        open_videos(client.url)


@pytest.mark.parametrize(
    "url", ["s3://k:PLANTED@b/v", "https://h/v.mp4?sig=PLANTED", "ftp://h/PLANTED", "s3://"]
)
def test_urls_that_are_refused_are_not_repeated(url):
    with pytest.raises(ValueError) as error:
        Sources.of(url)
    assert "PLANTED" not in str(error.value)


@pytest.fixture
def web(tmp_path):
    """The URL of a web server, and the folder that it shows."""
    folder = tmp_path / "web"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def test_a_web_server_has_videos_and_lists_but_no_folders(web, tmp_path):
    url, folder = web
    (folder / "v").mkdir()
    (folder / "v/a.mp4").write_bytes(b"12345")
    (folder / "v/l.txt").write_text("a.mp4\n")
    (tmp_path / "l.txt").write_text(f"{url}/v/a.mp4\n")
    for place in (f"{url}/v/a.mp4", f"{url}/v/l.txt", tmp_path / "l.txt"):
        (video,) = look_into(sources(place, folder=tmp_path / "stage")).videos
        assert video.relative_path == "a.mp4"
        with video.at_hand() as path:
            assert path.read_bytes() == b"12345"
    for place in (f"{url}/v", f"{url}/gone.mp4", url):
        with pytest.raises(InputFolderError) as error:
            look_into(sources(place, folder=tmp_path / "stage"))
        assert "127.0.0.1" not in str(error.value) and "a web server has no list" in str(error.value)
