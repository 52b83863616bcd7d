"""The pipeline on a tiny project: what runs again, what is refused, what a kill can cost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time

import pytest

from mmc.book.execute import stamp
from mmc.book.project import parse_value, workers
from mmc.book.site import repository_settings


def test_chapter_runs_again_exactly_when_something_it_depends_on_changed(tiny, tiny_chapter):
    """One story, since each step starts from the state the last one left."""
    reads = (
        "import os\nfrom pathlib import Path\n"
        "with open(os.environ.get('MMC_TRACE', os.devnull), 'a') as trace:\n    print('one/*.json', file=trace)\n"
        "print('record', [p.read_text() for p in sorted(Path('../book/records/one').glob('*.json'))])"
    )
    tiny.write("gamma", tiny_chapter((reads,)))
    first = tiny.mmc("book")
    assert first.returncode == 0, first.stderr + first.stdout
    assert tiny.ran(first) == ["alpha", "beta", "gamma"]
    assert str(tiny.root / "_build" / "html" / "index.html") in first.stdout
    assert "answer 41" in tiny.page("alpha")

    again = tiny.mmc("book")
    assert tiny.ran(again) == [] and "rendering" not in again.stdout

    (tiny.root / "book" / "index.md").write_text("# A tiny book, revised\n")
    prose = tiny.mmc("book")
    assert tiny.ran(prose) == [] and "rendering" in prose.stdout

    (tiny.root / "book" / "records" / "one" / "a.json").write_text("7")
    assert tiny.ran(tiny.mmc("book")) == ["gamma"]
    assert "record ['7']" in tiny.page("gamma").replace("&#39;", "'")

    (tiny.root / "book" / "records" / "one" / "unread.txt").write_text("no chapter reads this")
    assert tiny.ran(tiny.mmc("book")) == []

    (tiny.root / "mmc" / "answer.py").write_text("ANSWER = 42\n")
    assert tiny.ran(tiny.mmc("book")) == ["alpha", "beta", "gamma"]
    assert "answer 42" in tiny.page("alpha") and "answer 41" not in tiny.page("alpha")

    tiny.write("beta", tiny_chapter(("print('new beta')",)))
    assert tiny.ran(tiny.mmc("book")) == ["beta"]

    (tiny.root / "constraints.txt").write_text("numpy==3\n")
    assert tiny.ran(tiny.mmc("book")) == ["alpha", "beta", "gamma"]

    by_hand = tiny.mmc("book", "--chapter", "alpha", "-p", "seed", "100")
    assert tiny.ran(by_hand) == ["alpha"] and "answer 142" in tiny.page("alpha")
    back = tiny.mmc("book")
    assert tiny.ran(back) == [] and "answer 42" in tiny.page("alpha")


def test_failing_cell_is_named_and_the_others_are_kept(tiny, tiny_chapter):
    tiny.write("alpha", tiny_chapter(("x = 1",), ("y = 2\nassert x == y, 'x differs'",)))
    result = tiny.mmc("book")
    assert result.returncode == 1
    for part in ("chapter alpha", "cell 3", "line 2", "assert x == y", "AssertionError: x differs"):
        assert part in result.stderr
    assert tiny.ran(result) == ["beta"]
    assert not (tiny.root / "_build" / "html" / "index.html").exists()
    tiny.write("alpha", tiny_chapter(("x = 1",)))
    assert tiny.ran(tiny.mmc("book")) == ["alpha"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--chapter", "alfa"], "unknown chapter 'alfa'; valid: alpha, beta"),
        (["--scale", "huge"], "unknown scale 'huge'; valid: smoke, laptop, gpu"),
        (["--chapter", "alpha", "-p", "sead", "1"], "unknown parameter 'sead'; valid: seed"),
        (["--chapter", "alpha", "-p", "seed", "one"], "'seed' takes a int"),
        (["-p", "seed", "1"], "exactly one --chapter"),
    ],
)
def test_unknown_names_are_refused_with_the_valid_ones(tiny, arguments, said):
    result = tiny.mmc("book", *arguments)
    assert result.returncode == 1
    assert said in result.stderr
    assert not (tiny.root / "_build" / "executed").exists(), "nothing may run before the names are checked"


def test_preset_of_a_scale_may_only_name_parameters(tiny, tiny_chapter):
    notebook = tiny_chapter(("print(seed)",))
    notebook.metadata["mmc"] = {"scales": {"laptop": {"sed": 3}}}
    tiny.write("alpha", notebook)
    result = tiny.mmc("book", "--chapter", "alpha", "--scale", "laptop")
    assert result.returncode == 1 and "unknown parameter (in the laptop preset) 'sed'" in result.stderr


def test_warning_on_a_page_fails_the_build_every_time(tiny):
    (tiny.root / "book" / "index.md").write_text("# A tiny book\n\n{ref}`nowhere`\n")
    for _ in range(2):
        result = tiny.mmc("book")
        assert result.returncode == 1 and "nowhere" in result.stderr


def test_page_left_out_of_the_contents_is_refused(tiny):
    (tiny.root / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/alpha\n")
    result = tiny.mmc("book")
    assert result.returncode == 1 and "beta" in result.stderr
    (tiny.root / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/omega\n")
    result = tiny.mmc("book")
    assert result.returncode == 1 and "omega" in result.stderr


def test_kill_at_any_moment_leaves_nothing_half_written(tiny):
    """SIGKILL to the whole process group at random moments; every file left is whole, and the next build is right."""
    draw = random.Random(0)
    executed = tiny.root / "_build" / "executed" / "smoke"
    for wait in sorted(draw.uniform(0.3, 9.0) for _ in range(5)):
        process = subprocess.Popen(
            tiny.command("book"), cwd=tiny.root, start_new_session=True, stdout=subprocess.DEVNULL
        )
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for path in executed.glob("*.ipynb"):
            assert stamp(path), f"{path.name} is not whole"
            json.loads(path.read_text())
    done = {path.stem for path in executed.glob("*.ipynb")}
    result = tiny.mmc("book")
    assert result.returncode == 0, result.stderr
    assert set(tiny.ran(result)) == {"alpha", "beta"} - done, "what was finished before the kill must not run again"
    for name in ("alpha", "beta"):
        assert "</html>" in tiny.page(name)


def test_interrupt_ends_the_run_and_starts_no_further_chapter(tiny, tiny_chapter):
    slow = tiny_chapter(
        ("import time\nfrom pathlib import Path",), ("Path(f'../{time.time_ns()}.ran').touch()\ntime.sleep(60)",)
    )
    for name in ("alpha", "beta", "gamma", "delta", "epsilon", "zeta"):
        tiny.write(name, slow)
    process = subprocess.Popen(tiny.command("book"), cwd=tiny.root, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tiny.root.glob("*.ran")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=50) != 0
    assert 1 <= len(list(tiny.root.glob("*.ran"))) <= workers()
    assert not list((tiny.root / "_build" / "executed").rglob("*.ipynb"))


def test_links_to_the_repository_appear_once_its_address_is_set(tiny):
    assert tiny.mmc("book").returncode == 0
    for service in ("colab", "mybinder"):
        assert service not in tiny.page("alpha")
    config = (tiny.root / "_config.yml").read_text()
    (tiny.root / "_config.yml").write_text(config.replace("url: ''", "url: 'https://github.com/owner/book'"))
    assert tiny.mmc("book").returncode == 0
    for service in ("colab", "mybinder"):
        assert service in tiny.page("alpha")


def test_repository_settings_leave_no_dead_link():
    off = repository_settings({"repository": {"url": ""}, "html": {"use_issues_button": True}})
    assert "repository" not in off
    assert not any(off["html"].values()) and not any(off["launch_buttons"].values())


@pytest.mark.parametrize(
    ("text", "default", "value"),
    [
        ("3", 1, 3),
        ("3", 1.0, 3.0),
        ("1e-3", 1.0, 1e-3),
        ("True", False, True),
        ("-2", 1, -2),
        ("3", "a", "3"),
        ("mnist", "a", "mnist"),
    ],
)
def test_parameters_take_the_type_of_their_default(text, default, value):
    parsed = parse_value("p", text, default)
    assert parsed == value and type(parsed) is type(default)


@pytest.mark.parametrize(("text", "default"), [("x", 1), ("1.5", 1), ("1", True), ("True", 1), ("[1]", 1.0)])
def test_parameters_of_another_type_are_refused(text, default):
    with pytest.raises(ValueError, match="parameter 'p' takes a"):
        parse_value("p", text, default)
