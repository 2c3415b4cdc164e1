from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from anygpt.config.schema import Limits, ServiceLimits
from anygpt.media import ImageLimits, encode_png
from pipelines.demo import uploads as uploads_module
from pipelines.demo.refusals import RefusedError
from pipelines.demo.uploads import Upload, Uploads, person_at, plain_name

PERSON, OTHER = "10.0.0.1", "10.0.0.2"
PNG = b"\x89PNG\r\n\x1a\n"
Made = Callable[..., Uploads]


@pytest.fixture
def make(tmp_path: Path) -> Made:
    def made(takes: tuple[str, ...] = ("image",), per_person: int = 1000, in_all: int = 1500) -> Uploads:
        limits = Limits(image=ImageLimits(max_bytes=800))
        service = ServiceLimits(max_upload_bytes_per_person=per_person, max_upload_bytes=in_all)
        return Uploads(tmp_path, takes, limits, service)

    return made


def sent(uploads: Uploads, name: str = "a.png", num_bytes: int = 600, person: str = PERSON) -> Path:
    """A file that looks like a picture, sent in small pieces as the page takes it in."""
    upload = uploads.begin(name, person)
    try:
        data = PNG + bytes(num_bytes - len(PNG))
        for at in range(0, num_bytes, 100):
            upload.write(data[at : at + 100])
        return upload.finish()
    except RefusedError:
        upload.abandon()
        raise


def finished(upload: Upload, content: bytes) -> Path:
    upload.write(content)
    return upload.finish()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_stored_under_its_name_in_a_folder_of_its_own(make, tmp_path, picture):
    uploads = make()
    upload = uploads.begin("a star.PNG", PERSON)
    upload.write(encode_png(picture))
    path = upload.finish()
    assert path.read_bytes() == encode_png(picture)
    assert (path.name, path.parent.parent, len(path.parent.name)) == ("a star.PNG", tmp_path, 32)
    assert uploads.held_bytes(PERSON) == path.stat().st_size


def test_one_person_may_keep_so_much_and_others_are_not_hindered(make, tmp_path):
    uploads = make()
    first = sent(uploads)
    with pytest.raises(
        RefusedError, match=r"^'b.png': not stored, your files would be more than .*=1,000 bytes; press"
    ) as caught:
        sent(uploads, "b.png", 401)
    assert caught.value.status == 413
    assert files(tmp_path) == [first]
    sent(uploads, "b.png", 400)
    sent(uploads, "c.png", 500, OTHER)
    assert (uploads.held_bytes(PERSON), uploads.held_bytes(OTHER)) == (1000, 500)


def test_all_together_may_keep_so_much(make):
    uploads = make()
    sent(uploads, num_bytes=800)
    sent(uploads, num_bytes=700, person=OTHER)
    message = r"everybody's files would be more than service.max_upload_bytes=1,500 bytes; try again later"
    with pytest.raises(RefusedError, match=message):
        sent(uploads, num_bytes=100, person="10.0.0.3")
    assert uploads.held_bytes() == 1500


@pytest.mark.parametrize("by", ["page", "somebody"])
def test_what_is_deleted_is_not_counted_any_more(make, tmp_path, by):
    uploads = make()
    path = sent(uploads, num_bytes=800)
    if by == "page":
        uploads.delete([path])
        assert list(tmp_path.iterdir()) == []
    else:
        path.unlink()
    sent(uploads, num_bytes=800)
    assert uploads.held_bytes(PERSON) == 800


def test_only_uploads_can_be_deleted(make, tmp_path):
    example = tmp_path / "example.png"
    example.write_bytes(PNG)
    make().delete([example])
    assert example.exists()


def test_files_that_were_never_sent_make_room_after_a_while(make, monkeypatch):
    uploads = make()
    kept, forgotten = sent(uploads, num_bytes=400), sent(uploads, num_bytes=600)
    uploads.keep([kept])
    monkeypatch.setattr(uploads_module, "UNSENT_KEPT_S", 0.0)
    on_its_way = uploads.begin("b.png", PERSON)
    on_its_way.write(PNG)
    sent(uploads, num_bytes=300)
    assert kept.exists()
    assert not forgotten.exists()
    on_its_way.write(PNG)
    assert on_its_way.finish().exists()


def test_the_number_of_files_is_bounded_too(make, monkeypatch):
    monkeypatch.setattr(uploads_module, "MAX_FILES_PER_PERSON", 2)
    uploads = make()
    for _ in range(2):
        sent(uploads, num_bytes=20)
    with pytest.raises(RefusedError, match=r"not stored, 2 of your files are kept; press Clear first"):
        sent(uploads, num_bytes=20)
    sent(uploads, num_bytes=20, person=OTHER)


@pytest.mark.parametrize("name", ["a.exe", "a.svg", "a.html", "a.png.php", "a.wav", "png", "", ".png", "a.png\0.exe"])
def test_files_of_other_names_are_refused_before_anything_is_stored(make, tmp_path, name):
    with pytest.raises(RefusedError, match=r"not stored, expected a picture \(\.png, \.jpg, .*; convert it") as caught:
        make().begin(name, PERSON)
    assert caught.value.status == 415
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_taken_where_the_stack_takes_nothing_in(make):
    with pytest.raises(RefusedError, match=r"'a.png': not stored, expected no file at all"):
        make(takes=()).begin("a.png", PERSON)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>" + bytes(700), " but a web page"),
        (b"MZ", " but a program"),
        (b"no picture at all", ", it starts with the bytes 6e 6f 20 70 69 63 74 75"),
        (b"", ", it is empty"),
    ],
)
def test_a_file_of_another_kind_is_refused_before_anything_is_stored(make, tmp_path, content, said):
    uploads = make()
    upload = uploads.begin("a.png", PERSON)
    with pytest.raises(RefusedError, match=f"^'a.png': not stored, not a picture{said}; send a picture$") as caught:
        finished(upload, content)
    assert caught.value.status == 415
    assert list(tmp_path.iterdir()) == []
    upload.abandon()
    assert uploads.held_bytes() == 0


def test_a_file_over_its_own_limit_leaves_nothing(make, tmp_path):
    uploads = make()
    with pytest.raises(
        RefusedError, match=r"'a.png': not stored, more than 800 bytes .* limits.image.max_bytes; shrink"
    ):
        sent(uploads, num_bytes=801)
    assert files(tmp_path) == []
    assert uploads.held_bytes() == 0


def test_where_nothing_can_be_written_the_reason_is_told(make, tmp_path):
    upload = make().begin("a.png", PERSON)
    os.rmdir(tmp_path)
    with pytest.raises(RefusedError, match=r"'a.png': cannot be stored \(No such file or directory\)") as caught:
        finished(upload, PNG)
    assert caught.value.status == 507
    tmp_path.mkdir()


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("../../etc/a.png", "a.png"),
        ("C:\\Users\\me\\a.png", "a.png"),
        ("übung 图片 (1).jpeg", "übung 图片 (1).jpeg"),
        ('a"<b>?#%&;\n\x1b[31m.png', "a__b_________31m.png"),
        ("..", "file"),
        ("a" * 500 + ".png", "a" * 57 + ".png"),
    ],
)
def test_names_are_plain(given, plain):
    assert plain_name(given) == plain


def test_a_name_of_long_characters_fits_a_file_system(make):
    assert sent(make(), "𠀀" * 300 + ".png").exists()


def test_a_person_is_an_address_or_a_homes_network():
    assert person_at("10.0.0.1") == person_at("::ffff:10.0.0.1") == "10.0.0.1"
    assert person_at("2001:db8::1") == person_at("2001:db8::2:ffff") == "2001:db8::/64"
    assert person_at("2001:db8:0:1::1") != person_at("2001:db8::1")
    assert person_at("fe80::1%eth0") == "fe80::/64"
    assert person_at("nobody") == "nobody"
