"""What training shows of a model's own text steers no terminal."""

import pytest

from charlm.cli.progress import Bar, Lines


@pytest.mark.parametrize("progress", [lambda: Bar(0, 3), lambda: Lines(3)], ids=["bar", "lines"])
def test_a_sample_with_controls_is_shown_with_them_written_out(progress, capsys) -> None:
    watched = progress()
    watched.show_sample("a\x1b[2Jb\nc")
    watched.close()
    shown = capsys.readouterr().err
    assert "    | a\\x1b[2Jb\n    | c" in shown
