"""What a user sees of ``charlm sample``."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.text.vocabulary import Vocabulary
from tests.conftest import TEXT, Run, make_config, train
from tests.harness.processes import COMMAND, ENVIRONMENT, run_in_shell, run_on_terminal

ENDLESS = "100000000"
LITERAL = "[red]x[/red] :smile: [link=a]b %s {0} \\[x]"
"""What rich's markup, its emoji or a format string would swallow."""


@pytest.fixture
def lstm(trained: dict[str, Path]) -> str:
    return str(trained["lstm"])


@pytest.fixture(scope="module")
def literal(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a run whose vocabulary holds brackets, colons and a backslash."""
    folder = tmp_path_factory.mktemp("literal")
    (folder / "text.txt").write_text((LITERAL + "\n") * 20, encoding="utf-8")
    return str(train(make_config(folder / "text.txt", folder / "runs"))[0])


def test_output_is_the_prompt_then_length_new_characters_then_nothing(charlm: Run, lstm: str) -> None:
    result = charlm("sample", "--checkpoint", lstm, "--prompt", "The fox", "--length", "23", "--seed", "1")
    assert result.exit_code == 0
    assert result.stdout.startswith("The fox")
    assert len(result.stdout) == len("The fox") + 23
    assert set(result.stdout) <= set(TEXT)
    assert result.stderr == ""


def test_length_is_500_unless_asked_for(charlm: Run, lstm: str) -> None:
    assert len(charlm("sample", "--checkpoint", lstm).stdout) == 500


def test_length_0_writes_the_prompt_alone(charlm: Run, lstm: str) -> None:
    assert charlm("sample", "--checkpoint", lstm, "--prompt", "fox", "--length", "0").stdout == "fox"
    several = charlm("sample", "--checkpoint", lstm, "--prompt", "fox", "--length", "0", "--num-samples", "2")
    assert several.stdout == "fox\n----\nfox\n"


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_the_same_seed_writes_the_same_text_and_another_seed_another(
    kind: str, charlm: Run, trained: dict[str, Path]
) -> None:
    first, again, other = (
        charlm("sample", "--checkpoint", str(trained[kind]), "--length", "60", "--seed", seed).stdout
        for seed in ("5", "5", "6")
    )
    assert first == again != other


def test_the_seed_that_was_drawn_is_told_and_writes_the_same_text(charlm: Run, lstm: str) -> None:
    drawn = charlm("sample", "--checkpoint", lstm, "--length", "60")
    place, seed = drawn.stderr.removeprefix("charlm: ").strip().split(", seed ")
    assert place == f"{lstm}/best.safetensors"
    assert charlm("sample", "--checkpoint", lstm, "--length", "60", "--seed", seed).stdout == drawn.stdout
    assert charlm("sample", "--checkpoint", lstm, "--length", "60").stdout != drawn.stdout


@pytest.mark.parametrize("options", [[], ["--top-k", "7"], ["--top-p", "0.7", "--temperature", "1.3"]])
def test_a_shorter_sample_is_a_prefix_of_a_longer_one(options: list[str], charlm: Run, lstm: str) -> None:
    shorter, longer = (
        charlm("sample", "-c", lstm, "--prompt", "fox", "--seed", "3", "--length", length, *options).stdout
        for length in ("13", "77")
    )
    assert len(longer) == 3 + 77
    assert longer.startswith(shorter)


def test_temperature_0_needs_no_seed(charlm: Run, lstm: str) -> None:
    texts = {charlm("sample", "-c", lstm, "--temperature", "0", "--prompt", "fox").stdout for _ in range(3)}
    assert len(texts) == 1
    # So does top-k 1: both always take the likeliest.
    assert charlm("sample", "-c", lstm, "--top-k", "1", "--prompt", "fox").stdout in texts


@pytest.mark.slow
def test_a_newline_follows_on_a_terminal_alone(charlm: Run, lstm: str, tmp_path: Path) -> None:
    arguments = ("sample", "-c", lstm, "--seed", "4", "--length", "40")
    assert run_on_terminal(tmp_path, *arguments) == (0, charlm(*arguments).stdout + "\n")


def test_escapes_in_a_prompt_are_a_newline_and_a_tab(charlm: Run, lstm: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_bytes(b"boats\tlay\nThe ")
    options = ("--seed", "2", "--length", "30")
    escaped = charlm("sample", "-c", lstm, "--prompt", r"boats\tlay\nThe ", *options).stdout
    assert escaped.startswith("boats\tlay\nThe ")
    assert escaped == charlm("sample", "-c", lstm, "--prompt-file", "prompt.txt", *options).stdout


def test_a_prompt_file_is_read_as_it_is(charlm: Run, literal: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_bytes(b"\\[x]\n")  # a backslash is a backslash in a file
    from_file = charlm("sample", "-c", literal, "--prompt-file", "prompt.txt", "--seed", "2", "--length", "30").stdout
    assert from_file.startswith("\\[x]\n")
    assert len(from_file) == 5 + 30


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (b"\\[x]\n", "\\[x]"),
        (b"\\[x]\n\n", "\\[x]\n"),
        (b"x\n\n\n", "x\n\n"),
        (b"x", "x"),
        (b"\n", ""),
        (b"x\n]", "x\n]"),
    ],
)
def test_a_prompt_from_standard_input_loses_one_final_newline(
    given: bytes, read: str, charlm: Run, literal: str
) -> None:
    options = ("--seed", "2", "--length", "0", "--json")
    result = charlm("sample", "-c", literal, "--prompt-file", "-", *options, text=given)
    assert json.loads(result.stdout)["prompt"] == read


@pytest.mark.parametrize("unit", ["character", "byte"])
@pytest.mark.parametrize(
    ("given", "read"), [("a\r\n", "a"), ("a\r\n\r\n", "a\r\n"), ("a\n\r", "a\n\r"), ("a\r", "a\r")]
)
def test_the_final_newline_of_a_prompt_may_be_that_of_windows(
    given: str, read: str, unit: str, charlm: Run, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_bytes(b"a\r\nb\n" * 40)
    (tmp_path / "counts.yaml").write_text(
        f"data: {{path: text.txt, unit: {unit}, newlines: keep}}\nmodel: {{kind: markov, order: 1}}\n", encoding="utf-8"
    )
    assert charlm("train", "--config", "counts.yaml", "--quiet").exit_code == 0
    (tmp_path / "prompt.txt").write_bytes(given.encode())
    prompts = [
        json.loads(charlm("sample", "--length", "0", "--json", "--prompt-file", name, text=given.encode()).stdout)
        for name in ("-", "prompt.txt")
    ]
    assert [each["prompt"] for each in prompts] == [read, given]


@pytest.mark.slow
def test_a_prompt_of_echo_is_continued_on_its_line(lstm: str, tmp_path: Path) -> None:
    process = run_in_shell(
        tmp_path, "sample", "-c", lstm, "--prompt-file", "-", "--length", "0", redirect="<<'END'\nThe fox\nEND"
    )
    assert (process.returncode, process.stdout, process.stderr[:7]) == (0, "The fox", "charlm:")


def test_stop_ends_the_text_before_its_first_appearance(charlm: Run, lstm: str) -> None:
    options = ("--prompt", "The fox", "--seed", "7", "--length", "300")
    whole = charlm("sample", "-c", lstm, *options).stdout
    new = whole.removeprefix("The fox")
    for stop in (new[40], new[40:43], new[290:]):
        stopped = charlm("sample", "-c", lstm, *options, "--stop", stop).stdout
        assert stopped == "The fox" + new.partition(stop)[0]
    assert charlm("sample", "-c", lstm, *options, "--stop", "never seen").stdout == whole


def test_stop_understands_escapes_and_leaves_the_prompt_whole(charlm: Run, lstm: str) -> None:
    options = ("--prompt", r"fox\nThe", "--seed", "7", "--length", "300")
    new = charlm("sample", "-c", lstm, *options).stdout.removeprefix("fox\nThe")
    assert "\n" in new
    assert charlm("sample", "-c", lstm, *options, "--stop", r"\n").stdout == "fox\nThe" + new.partition("\n")[0]


def apart(stdout: str) -> list[str]:
    """Return the texts of several samples; each ends with a newline, the last too."""
    return stdout.removesuffix("\n").split("\n----\n")


def test_several_samples_stand_apart_and_each_is_what_it_would_be_in_other_company(charlm: Run, lstm: str) -> None:
    options = ("--prompt", "fox", "--seed", "9", "--length", "40")
    alone, two, five = (
        apart(charlm("sample", "-c", lstm, *options, "--num-samples", count).stdout) for count in ("1", "2", "5")
    )
    assert [len(alone), len(two), len(five)] == [1, 2, 5]
    assert alone == two[:1] == five[:1]
    assert two == five[:2]
    assert len(set(five)) == 5
    assert all(text.startswith("fox") and len(text) == 3 + 40 for text in five)


def test_several_samples_stop_each_in_its_own_place(charlm: Run, lstm: str) -> None:
    options = ("--seed", "9", "--length", "200", "--num-samples", "3")
    whole = apart(charlm("sample", "-c", lstm, *options).stdout)
    stopped = apart(charlm("sample", "-c", lstm, *options, "--stop", "e").stdout)
    assert stopped == [text.partition("e")[0] for text in whole]
    assert len({len(text) for text in stopped}) > 1


def test_json_holds_the_texts_and_all_that_is_needed_to_write_them_again(charlm: Run, lstm: str) -> None:
    options = ("--prompt", r"fox\n", "--length", "30", "--num-samples", "2", "--top-k", "8", "--top-p", "0.9")
    result = charlm("sample", "-c", lstm, *options, "--temperature", "1.5", "--json")
    record = json.loads(result.stdout)
    assert record == {
        "checkpoint": f"{lstm}/best.safetensors",
        "temperature": 1.5,
        "top_k": 8,
        "top_p": 0.9,
        "seed": record["seed"],
        "prompt": "fox\n",
        "samples": record["samples"],
    }
    again = charlm("sample", "-c", lstm, *options, "--temperature", "1.5", "--seed", str(record["seed"]))
    assert again.stdout == "\n----\n".join(record["samples"]) + "\n"
    assert result.stdout.endswith("}\n")
    assert result.stdout.count("\n") == 1


def test_a_checkpoint_is_found_by_file_folder_name_and_as_the_latest(charlm: Run, lstm: str, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/mine").symlink_to(lstm)
    (tmp_path / "runs/latest").write_text("mine\n", encoding="utf-8")
    names: tuple[list[str], ...]
    names = (["-c", f"{lstm}/best.safetensors"], ["-c", lstm], ["-c", "runs/mine"], ["--checkpoint", "mine"], [])
    texts = {charlm("sample", *name, "--seed", "1", "--length", "50").stdout for name in names}
    assert len(texts) == 1
    assert len(texts.pop()) == 50


def test_a_full_checkpoint_of_a_run_writes_too(charlm: Run, lstm: str) -> None:
    (full,) = Path(lstm).glob("step-00000008.safetensors")
    assert len(charlm("sample", "-c", str(full), "--seed", "1", "--length", "50").stdout) == 50


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_sample_quietly(lstm: str, tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [*COMMAND, "sample", "-c", lstm, "--prompt", "The fox", "--seed", "1", "--length", ENDLESS],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    assert writer.stdout.read(7) == b"The fox"
    writer.stdout.close()
    assert writer.stderr.read() == b""
    writer.stderr.close()
    assert writer.wait(timeout=60) == 0


@pytest.mark.slow
def test_standard_output_is_utf_8_whatever_the_locale_says(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes("caf\u00e9 \ud55c\uae00\r\n".encode() * 30)
    run, _ = train(make_config(tmp_path / "text.txt", tmp_path / "runs"))
    (tmp_path / "prompt.txt").write_text("caf\u00e9 \ud55c", encoding="utf-8")
    process = subprocess.run(
        [*COMMAND, "sample", "-c", str(run), "--prompt-file", "prompt.txt", "--length", "40", "--seed", "1"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert process.stdout.startswith("caf\u00e9 \ud55c".encode())
    assert len(process.stdout.decode("utf-8")) == 6 + 40
    assert process.stderr == b""


@pytest.mark.slow
def test_several_samples_end_with_one_newline_on_a_terminal_too(charlm: Run, lstm: str, tmp_path: Path) -> None:
    arguments = ("sample", "-c", lstm, "--seed", "4", "--length", "40", "--num-samples", "2")
    assert run_on_terminal(tmp_path, *arguments) == (0, charlm(*arguments).stdout)


@pytest.mark.slow
def test_markup_in_a_prompt_is_text(charlm: Run, literal: str, tmp_path: Path) -> None:
    prompt = LITERAL.removesuffix(" \\[x]")
    arguments = ("sample", "-c", literal, "--prompt", prompt, "--length", "9", "--seed", "1")
    result = charlm(*arguments)
    assert result.stdout.startswith(prompt)
    assert run_on_terminal(tmp_path, *arguments) == (0, result.stdout + "\n")
    stranger = charlm("sample", "-c", literal, "--prompt", "[bold]")
    assert stranger.exit_code == 2
    assert stranger.stderr.startswith("charlm: 1 character is not in")
    assert "'o' (U+006F)" in stranger.stderr


def test_a_checkpoint_named_in_markup_is_named_literally(charlm: Run, lstm: str, tmp_path: Path) -> None:
    (tmp_path / "[red]:smile:").symlink_to(lstm)
    assert charlm("sample", "-c", "[red]:smile:").stderr.startswith("charlm: [red]:smile:/best.safetensors, seed ")


def test_characters_that_a_model_reads_as_unknown_are_told(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT + "\u20ac", encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"minimum_count": 2})
    run = str(train(config)[0])
    prompt = "a\u20ac\u20acz"
    result = charlm("sample", "-c", run, "--prompt", prompt, "--length", "400", "--seed", "1")
    assert result.exit_code == 0
    told = "charlm: read as unknown: '\u20ac' (U+20AC) at position 1, 2 times, 'z' (U+007A) at position 3\n"
    assert result.stderr == told
    assert result.stdout[:4] == "a\ufffd\ufffd\ufffd"
    assert "\ufffd" not in result.stdout[4:]  # what is unknown is never written
    (tmp_path / "prompt.txt").write_text(prompt, encoding="utf-8")
    for given in (["--prompt", prompt, "--next", "2"], ["--prompt-file", "prompt.txt"], ["--prompt-file", "-"]):
        assert charlm("sample", "-c", run, *given, "--seed", "1", text=prompt.encode()).stderr == told
    listed = Checkpoint.load(Path(run, "best.safetensors")).vocabulary.unknown_characters(prompt)
    assert f"charlm: read as unknown: {', '.join(map(str, listed))}\n" == told


def test_a_decomposed_model_writes_composed_text(charlm: Run, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\ud55c\uae00 caf\u00e9\n" * 40, encoding="utf-8")
    config = make_config(tmp_path / "text.txt", tmp_path / "runs", data={"normalization": "NFD"})
    run = str(train(config)[0])
    result = charlm("sample", "-c", run, "--prompt", "\ud55c\uae00", "--length", "0")
    assert result.stdout == "\ud55c\uae00"


def test_bytes_that_are_no_utf_8_are_written_as_replacements(charlm: Run, trained: dict[str, Path]) -> None:
    checkpoint = Checkpoint.load(trained["lstm"] / "best.safetensors")
    data = checkpoint.config.data.model_copy(update={"unit": "byte"})
    symbols = (*map(chr, range(len(checkpoint.vocabulary) - 1)), "\xff")
    changed = replace(
        checkpoint,
        config=checkpoint.config.model_copy(update={"data": data}),
        vocabulary=Vocabulary(symbols, "byte"),
    )
    changed.save(Path("bytes.safetensors"))
    result = charlm("sample", "-c", "bytes.safetensors", "--length", "300", "--seed", "1")
    assert result.exit_code == 0
    assert set(result.stdout) == {*map(chr, range(len(symbols) - 1)), "\ufffd"}
