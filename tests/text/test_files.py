import os
from pathlib import Path

import pytest

from charlm.errors import TextError
from charlm.text import files
from charlm.text.files import byte_pieces, find_files

# Finding


def test_one_path_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert find_files([str(tmp_path / "a.txt")]) == [tmp_path / "a.txt"]


def test_a_list_keeps_its_order_and_each_glob_in_it_sorts_by_name(tmp_path: Path) -> None:
    for name in ["part10.txt", "part2.txt", "part1.txt", "Z.txt", "notes.md", "end.txt"]:
        (tmp_path / name).touch()
    found = find_files([str(tmp_path / pattern) for pattern in ["part*.txt", "notes.md", "*.txt"]])
    assert [path.name for path in found] == [
        *["part1.txt", "part10.txt", "part2.txt"],
        "notes.md",
        *["Z.txt", "end.txt", "part1.txt", "part10.txt", "part2.txt"],
    ]


def test_a_glob_names_files_alone_and_looks_into_folders_when_asked(tmp_path: Path) -> None:
    (tmp_path / "b.txt").touch()
    (tmp_path / "a.txt").mkdir()  # a folder that is called like a file
    (tmp_path / "a.txt" / "deep.txt").touch()
    assert find_files([str(tmp_path / "*.txt")]) == [tmp_path / "b.txt"]
    assert find_files([str(tmp_path / "**" / "*.txt")]) == [tmp_path / "a.txt" / "deep.txt", tmp_path / "b.txt"]


def test_a_file_whose_name_has_glob_characters_is_found_by_its_name(tmp_path: Path) -> None:
    for name in ["song[1].txt", "song1.txt", "what?.txt", "whats.txt"]:
        (tmp_path / name).touch()
    assert find_files([str(tmp_path / "song[1].txt")]) == [tmp_path / "song[1].txt"]
    assert find_files([str(tmp_path / "what?.txt")]) == [tmp_path / "what?.txt"]
    assert find_files([str(tmp_path / "song[1-3].txt")]) == [tmp_path / "song1.txt"]


def test_a_relative_glob_starts_where_charlm_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    assert find_files(["*.txt"]) == [Path("a.txt")]


def test_a_missing_file_is_named_with_the_folder_that_was_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextError, match=r"^gone\.txt: no such file") as caught:
        find_files(["gone.txt"])
    assert f"(looked in {tmp_path})" in str(caught.value)
    with pytest.raises(TextError, match="no such file") as caught:
        find_files([str(tmp_path / "gone.txt")])
    assert "looked in" not in str(caught.value)


def test_a_glob_that_matches_nothing_is_an_error_even_beside_one_that_does(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(TextError, match=r"\*\.md: no such file"):
        find_files([str(tmp_path / "*.txt"), str(tmp_path / "*.md")])


def test_a_folder_is_refused_with_a_glob_to_use_instead(tmp_path: Path) -> None:
    for name in [str(tmp_path), f"{tmp_path}/"]:
        with pytest.raises(TextError, match="this is a folder") as caught:
            find_files([name])
        assert f"'{tmp_path}/*.txt'" in str(caught.value)


def test_a_pipe_is_refused_because_a_text_is_read_twice(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TextError, match=r"pipe: not a regular file"):
        find_files([str(tmp_path / "pipe")])


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "a.txt/b.txt"])
def test_a_name_that_no_file_can_have_is_an_error_like_any_missing_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TextError):
        find_files([name])


# Bytes


@pytest.mark.parametrize("size", [1, 3, 4, 9, 10, 11, 99])
def test_the_pieces_of_a_file_are_its_bytes_in_order(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PIECE", size)
    path = tmp_path / "ten.bin"
    path.write_bytes(bytes(range(250, 260 - 4)) + b"\r\n\0\x1a")
    pieces = list(byte_pieces(path))
    assert b"".join(pieces) == path.read_bytes()
    assert [len(piece) for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert 1 <= len(pieces[-1]) <= size


def test_an_empty_file_has_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert list(byte_pieces(tmp_path / "empty")) == []


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "gone.txt", "No such file or directory"), (tmp_path, "Is a directory")]:
        with pytest.raises(TextError) as caught:
            list(byte_pieces(path))
        assert str(caught.value) == f"{path}: cannot read this file ({reason})."
