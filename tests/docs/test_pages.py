"""Pages are short enough to read, their links lead somewhere, and the tree of modules is complete."""

import re
from pathlib import Path

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors, blocks, prose, tracked

LONGEST_README = 200
LONGEST_LINE = 240
"""Characters of prose; tables and pictures are longer."""


def test_the_readme_is_short():
    assert len(PAGES["README.md"].splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES)
def test_no_line_of_prose_is_long(page):
    limit = 200 if page == "README.md" else LONGEST_LINE
    lines = [line for line in prose(page).splitlines() if not line.startswith(("|", "!["))]
    assert not [line for line in lines if len(line) > limit]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_are_there(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (folder / path).resolve() if path else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(str(file.relative_to(ROOT))), target


def test_every_page_and_picture_is_linked():
    linked = set()
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#]+)", text):
            if not target.startswith("https://"):
                linked.add((ROOT / page).parent.joinpath(target).resolve())
    unlinked = [path for path in sorted((ROOT / "docs").iterdir()) if path not in linked and path.name != "README.md"]
    assert not unlinked


def test_the_tree_names_every_module_and_every_file_at_the_top():
    shown = tree_paths()
    files = tracked()
    rooms = {file for file in files if re.fullmatch(r"charlm/\w+/__init__\.py", file)}
    modules = {file for file in files if file.startswith("charlm/") and file.endswith(".py")} - rooms
    tops = {file.partition("/")[0] + ("/" if "/" in file else "") for file in files if not file.startswith(".")}

    assert len(shown) == len(set(shown))
    assert modules - set(shown) == set()
    assert {path for path in shown if path.endswith(".py")} - modules == set()
    assert tops - set(shown) == set()
    assert [path for path in shown if not (ROOT / path).exists()] == []


def test_every_config_and_script_is_named():
    everything = "\n".join(PAGES.values())
    names = [Path(file).name for file in tracked() if file.startswith(("configs/", "scripts/"))]
    assert [name for name in names if name not in everything] == []


@pytest.mark.parametrize("page", PAGES)
def test_no_page_names_another_package_or_a_private_path(page):
    assert "charlm" + "[" not in PAGES[page]
    assert not re.search(r"(^|[\s`(\"'])/(root|home|work|opt|tmp)/", PAGES[page], re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_no_page_has_odd_words(page):
    """Words that an earlier documentation used for terms that have a name."""
    odd = (
        r"stands? behind|stood behind|just so\b|hangs? on\b|tells? of\b|plain file|\bstrangers?\b|ran away|held against"
    )
    made = page == "docs/api.md"  # from docstrings, which have their own review
    assert made or re.findall(odd, prose(page), re.IGNORECASE) == []


def tree_paths() -> list[str]:
    """Return the paths that the annotated tree names, by their indentation."""
    block = next(block.text for block in blocks("docs/architecture.md") if "├── charlm/" in block.text)
    paths, folders = [], []
    for line in block.splitlines()[1:]:
        match = re.match(r"^((?:[│ ]   )*)(?:├── |└── )(\S+)", line)
        assert match, line
        folders[len(match[1]) // 4 :] = [match[2]]
        paths.append("".join(folders))
    return paths
