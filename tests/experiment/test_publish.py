"""Files made from results, and the check that they say the same."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import msgspec
import pytest

from memviz.experiment import figures, plots
from memviz.experiment.figures import Group
from memviz.experiment.publish import check, outdated, publish, summary
from memviz.experiment.report import report
from memviz.experiment.spec import ExperimentError
from memviz.experiment.table import Results, digest_of, read_results, rows

README = "# A project\n\n<!-- experiment small -->\n<!-- end of experiment small -->\n\nMore.\n"


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    path = tmp_path / "README.md"
    path.write_text(README)
    return path


# -- figures ---------------------------------------------------------------------------------------------------------


def aged(results: Results) -> Group:
    return figures.groups(results)[0]


def test_groups_are_what_compares(results: Results) -> None:
    scenario = results.spec.scenarios[0]
    assert figures.groups(results) == [(scenario, 32, "aged"), (scenario, 32, "start")]


def test_estimates_are_over_seeds_and_differences_paired(results: Results) -> None:
    group = aged(results)
    value = figures.success("burst", 9)
    assert figures.values(results, group, "plain", value) == [10, 20]
    assert figures.estimated(results, group, "moves", value).mean == 65
    change = figures.compared(results, group, "moves", value)
    assert (change.estimate.mean, change.better, change.worse) == (50, 2, 0)
    assert change.estimate.half == pytest.approx(12.706 * 10)  # changes 40 and 60: sd / sqrt(2) = 10


def test_the_price_is_of_action_and_steady_demand(results: Results) -> None:
    by_title = {one.title: figures.estimated(results, aged(results), "moves", one.value).mean for one in figures.PRICE}
    assert by_title["objects moved"] == (100 + 300) / 2 + 1
    assert by_title["pages read again"] == 7
    assert by_title["virtual time, s"] == 2
    assert by_title["CPUs blocked"] == 0
    assert figures.mixed_share(results.runs[0].outcome.samples[0]) == 25


# -- table -----------------------------------------------------------------------------------------------------------


def test_the_table_has_one_row_a_figure(results: Results, tmp_path: Path) -> None:
    publish(results, tmp_path, draw=False)
    with (tmp_path / "small.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert table == [{name: str(value) for name, value in row._asdict().items()} for row in rows(results)]
    told = json.loads((tmp_path / "small.table.json").read_text())
    assert [dict(zip(told["columns"], row, strict=True)) for row in told["data"]] == [
        row._asdict() for row in rows(results)
    ]
    keys = [tuple(row[:10]) for row in rows(results)]
    assert len(set(keys)) == len(keys)
    got = [row for row in table if (row["phase"], row["order"], row["measure"]) == ("burst", "9", "got")]
    assert [(row["begin"], row["policy"], row["seed"], row["value"]) for row in got] == [
        (begin, policy, str(seed), value)
        for seed, values in ((1, ("1", "5")), (2, ("2", "8")))
        for begin in ("aged", "start")
        for policy, value in zip(("plain", "moves"), values, strict=True)
    ]


def test_parquet_where_there_is_pyarrow(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="no pyarrow here")
    parquet = pytest.importorskip("pyarrow.parquet")
    publish(results, tmp_path, draw=False)
    assert parquet.read_table(tmp_path / "small.parquet").to_pylist() == [row._asdict() for row in rows(results)]


def test_a_results_file_is_read_back_and_another_refused(results: Results, tmp_path: Path) -> None:
    publish(results, tmp_path, draw=False)
    path = tmp_path / "small.json.xz"
    assert read_results(path) == results
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ExperimentError, match="is no results file"):
        read_results(path)
    with pytest.raises(ExperimentError, match="cannot read"):
        read_results(tmp_path / "none.json.xz")


# -- report ----------------------------------------------------------------------------------------------------------


def test_the_report_says_what_the_results_say(results: Results) -> None:
    text = report(results)
    assert "| moves | 100 | 65 ± 191 | 65 ± 191 | +50 ± 127, 2 of 2 seeds better (not sure) |" in text  # burst
    assert "| moves | 100 | 65 ± 191 | +50 ± 127, 2 of 2 seeds better (not sure) |" in text  # steady
    assert "succeed 15 % of the time under *plain* and 65 % under *moves* (+50 ± 127 points" in text
    assert results.digest in text
    assert results.sources in text
    assert "memviz experiment small.toml" in text
    for limit in results.spec.limits:
        assert f"- {limit}" in text
    assert text.count("`01234567`") == 8


def test_policies_that_differ_in_one_thing_are_compared_in_words(results: Results) -> None:
    spec = msgspec.structs.replace(results.spec, pairs=(("moves", "plain"),))
    text = report(msgspec.structs.replace(results, spec=spec))
    assert "*moves* against *plain*: 65 % against 15 % (+50 ± 127 points, better with 2 of 2 seeds)." in text


def test_tables_have_as_many_cells_in_every_row(results: Results) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", report(results), re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_plots_have_every_policy_and_equal_results_give_equal_files(results: Results, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="no matplotlib here: pip install 'memviz[plots]'")
    first, second = publish(results, tmp_path / "a"), publish(results, tmp_path / "b")
    assert [path.name for path in first.files] == [path.name for path in second.files]
    for one, two in zip(first.files, second.files, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name
    text = (tmp_path / "a" / "small.md").read_text()
    for name in plots.names(results):
        assert f"]({name})" in text
        svg = (tmp_path / "a" / name).read_text()
        for policy in ("plain", "moves"):
            assert f">{policy}</text>" in svg
        assert (tmp_path / "a" / name).with_suffix(".png").read_bytes()[:4] == b"\x89PNG"


# -- check -----------------------------------------------------------------------------------------------------------


def test_the_check_is_content_with_what_publish_made(results: Results, tmp_path: Path, readme: Path) -> None:
    made = publish(results, tmp_path / "docs", readme, draw=False)
    assert readme in made.files
    assert check("small", tmp_path / "docs", readme) == ""
    text = readme.read_text()
    assert text.startswith("# A project\n\n<!-- experiment small -->\n**Small**\n\nOn the same aged machine: requests")
    assert "[the report](docs/small.md)" in text
    assert text.endswith("<!-- end of experiment small -->\n\nMore.\n")
    assert "| moves | 65 ± 191 % |" in text or "| moves |" in text
    publish(results, tmp_path / "docs", readme, draw=False)
    assert readme.read_text() == text


@pytest.mark.parametrize("where", ["docs/small.md", "README.md"])
def test_a_figure_that_somebody_changed_is_found(results: Results, tmp_path: Path, readme: Path, where: str) -> None:
    publish(results, tmp_path / "docs", readme, draw=False)
    path = tmp_path / where
    text = path.read_text()
    assert "65 ±" in text
    path.write_text(text.replace("65 ±", "66 ±", 1))
    said = check("small", tmp_path / "docs", readme)
    assert path.name in said
    assert "memviz experiment small.toml" in said


def test_results_that_changed_make_the_report_old(results: Results, tmp_path: Path) -> None:
    publish(results, tmp_path, draw=False)
    text = (tmp_path / "small.md").read_text()
    run = results.runs[1]
    worse = msgspec.structs.replace(
        run, outcome=msgspec.structs.replace(run.outcome, steady=results.runs[0].outcome.steady)
    )
    others = msgspec.structs.replace(results, runs=(results.runs[0], worse, *results.runs[2:]))
    publish(msgspec.structs.replace(others, digest=digest_of([others])), tmp_path, draw=False)
    assert check("small", tmp_path) == ""
    (tmp_path / "small.md").write_text(text)
    assert "does not say" in check("small", tmp_path)


def test_figures_that_do_not_fit_their_digest_are_found(results: Results, tmp_path: Path) -> None:
    publish(results, tmp_path, draw=False)
    better = msgspec.structs.replace(results.runs[0], outcome=results.runs[1].outcome)
    publish(msgspec.structs.replace(results, runs=(better, *results.runs[1:])), tmp_path, draw=False)
    assert "small.json.xz has other figures than its digest says" in check("small", tmp_path)


def test_a_simulation_that_has_changed_since_is_said_with_the_files(results: Results) -> None:
    assert outdated(results) == ""
    files = {**results.files, "kernel/page_alloc.py": "0" * 16, "kernel/gone.py": "1" * 16}
    old = msgspec.structs.replace(results, sources="8220acd779a4", files=files)
    said = outdated(old)
    assert "sources 8220acd7; it has changed since (kernel/gone.py, kernel/page_alloc.py)" in said
    assert "memviz experiment small.toml" in said
    assert "it has changed since. Figures" in outdated(msgspec.structs.replace(old, files={}))


def test_a_readme_without_a_place_is_named(results: Results, tmp_path: Path, readme: Path) -> None:
    readme.write_text("# A project\n")
    with pytest.raises(ExperimentError, match="put the lines <!-- experiment small -->"):
        publish(results, tmp_path, readme, draw=False)


def test_the_summary_has_every_policy(results: Results) -> None:
    told = summary(results)
    assert [(one["begin"], one["policy"]) for one in told["policies"]] == [
        (begin, policy) for begin in ("aged", "start") for policy in ("plain", "moves")
    ]
    assert told["policies"][1]["success"]["steady"]["9"] == 65
