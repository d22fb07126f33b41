import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from unwarp import report
from unwarp.report import Findings
from unwarp.report._page import most_dependent

RNG = np.random.default_rng(0)


class Gaussian:
    """A model with the right answers: independent normals of given widths."""

    def __init__(self, scale, names=None):
        self.scale = np.asarray(scale, dtype=float)
        if names is not None:
            self.feature_names_in_ = np.asarray(names, dtype=object)

    def score_samples(self, X):
        z = self.transform(X)
        return -0.5 * (z**2).sum(1) - np.log(self.scale).sum() - 0.5 * z.shape[1] * np.log(2 * np.pi)

    def sample(self, n_samples=1, random_state=None):
        return np.random.default_rng(random_state).normal(size=(n_samples, len(self.scale))) * self.scale

    def transform(self, X):
        rows = X.to_pandas().to_numpy() if type(X).__module__.startswith("pyarrow") else np.asarray(X)
        return rows / self.scale


MODEL = Gaussian([1.0, 10.0, 0.1])
ROWS = RNG.normal(size=(4_000, 3)) * MODEL.scale


def test_a_right_model_is_found_right():
    found = report.examine(MODEL, ROWS, held_out=-3.0, baselines={"gaussian": -4.0, "mixture": -3.5})
    assert found.coverage[0.5] == pytest.approx(0.5, abs=0.025)
    assert found.coverage[0.9] == pytest.approx(0.9, abs=0.02)
    assert found.coverage[0.99] == pytest.approx(0.99, abs=0.006)
    assert max(found.divergences.values()) < 0.035
    assert np.mean(found.ranks) == pytest.approx(0.5, abs=0.02)
    assert "beats the mixture by 0.50 nats" in found.verdict
    assert "as it should" in found.verdict
    assert "Every column's distribution is met" in found.verdict


def test_a_wrong_column_is_named():
    names = ["a", "b", "c"]
    found = report.examine(Gaussian([1.0, 20.0, 0.1], names), pd.DataFrame(ROWS, columns=names))
    assert max(found.divergences, key=found.divergences.get) == "b"
    assert "furthest from its samples is b" in found.verdict


def test_a_model_that_is_too_narrow_has_too_few_rows_inside():
    found = report.examine(Gaussian([0.6, 6.0, 0.06]), ROWS)
    assert found.coverage[0.9] < 0.7
    assert ": off." in found.verdict


def test_a_flow_that_is_not_worth_it_is_told():
    found = report.examine(MODEL, ROWS, held_out=-3.0, baselines={"gaussian": -3.0, "mixture": -2.9})
    assert "not worth it" in found.verdict
    assert "mixture" in found.verdict


def test_strangest_rows_and_the_values_that_make_them_strange():
    rows = ROWS.copy()
    rows[17, 1] = 300.0
    rows[99, 2] = -2.0
    found = report.examine(MODEL, rows, strange=3)
    first, second, third = found.strange
    assert (first.row, second.row) == (17, 99)
    assert first.log_prob < second.log_prob < third.log_prob
    assert (first.gain.argmax(), second.gain.argmax()) == (1, 2)
    assert first.gain[1] == pytest.approx(0.5 * 30**2, rel=0.01)
    assert abs(first.instead[1]) < 3
    assert first.rarity == 0.0


def test_columns_are_taken_by_name():
    names = ["a", "b", "c"]
    frame = pd.DataFrame(ROWS, columns=names)
    frame.insert(0, "label", "x")
    one = report.examine(Gaussian(MODEL.scale, names), frame[["c", "label", "a", "b"]])
    two = report.examine(Gaussian(MODEL.scale, names), frame)
    assert one.columns == ("a", "b", "c")
    assert np.array_equal(one.log_prob, two.log_prob)


class Page(HTMLParser):
    """Collects tags and what they point to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and value]

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module")
def page():
    evil = "<script>alert('$x')</script>"
    names = [evil, 'b"onload=x', "c & d -->"]
    found = report.examine(
        Gaussian(MODEL.scale, names),
        pd.DataFrame(ROWS, columns=names),
        source=evil,
        held_out=-3.0,
        baselines={"gaussian": -4.0, evil: -3.5},
        curve=(np.arange(1, 20), -3 - 1 / np.arange(1, 20)),
        card={"recipe": evil, evil: "v"},
        kinds={names[0]: evil},
        labels={evil: [evil] * len(ROWS)},
    )
    return report.render(found, title=evil)


def test_the_page_fetches_nothing_and_runs_nothing(page):
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "embed"} & set(parsed.tags)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in parsed.links)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page
    assert " onload=" not in page.replace("&quot;onload", "")


def test_the_page_has_every_section_and_figure(page):
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Each column",
        "Pairs of columns",
        "Calibration",
        "Latent space",
        "Training",
        "Strangest rows",
        "Columns in numbers",
        "Model card",
    ]
    assert Page(page).tags.count("svg") == 6
    assert "prefers-color-scheme: dark" in page


def test_ids_are_unique_and_their_users_find_them(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 50
    used = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert used <= set(ids)


def test_figures_take_the_colours_of_the_theme(page):
    body = page[page.index("<body>") :]
    assert "var(--data)" in body
    assert not set(re.findall(r"#[0-9a-f]{6}\b", body)) & {"#1f2a37", "#1d7896", "#e2733a"}


def test_the_same_findings_give_the_same_page():
    found = report.examine(MODEL, ROWS[:200], samples=200)
    assert report.render(found) == report.render(found)


def test_one_column_one_row_and_many_columns():
    one = report.examine(Gaussian([1.0]), ROWS[:1, :1], samples=50)
    assert "Pairs of columns" not in report.render(one)
    many = report.examine(Gaussian(np.ones(30)), RNG.normal(size=(60, 30)), samples=60, strange=2)
    text = report.render(many)
    assert "24 columns that are met worst" in text
    assert "6 columns that depend on each other most" in text


def test_pair_plots_take_the_columns_that_depend_on_each_other():
    x = RNG.normal(size=(3_000, 80))
    x[:, 40] = x[:, 7] ** 2 + 0.1 * x[:, 40]
    x[:, 71] = x[:, 7] + 0.1 * x[:, 71]
    assert {7, 71} <= set(most_dependent(x, 4))
    assert {7, 40} <= set(most_dependent(x[:, :60], 2))
    assert most_dependent(x[:, :5], 6) == [0, 1, 2, 3, 4]


def test_write_leaves_no_half_page(tmp_path):
    found = report.examine(MODEL, ROWS[:50], samples=50)
    report.write(found, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8").endswith("</html>\n")
    with pytest.raises(OSError, match="No such file"):
        report.write(found, tmp_path / "nowhere" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_summary_and_json_tell_the_same():
    rows = ROWS.copy()
    rows[17, 1] = 300.0
    found = report.examine(MODEL, rows, strange=2)
    text = found.summary()
    assert re.search(r"row +18 .*x1 300 -> .*nats", text)
    figures = found.to_json()
    assert figures["strange"][0]["row"] == 18
    assert figures["coverage"]["0.9"] == found.coverage[0.9]


def test_findings_can_be_made_by_hand():
    found = Findings(("a",), ROWS[:, :1], ROWS[:100, :1], np.zeros(4_000), np.zeros(100))
    assert np.all(found.ranks == 0.5)
    assert "Latent space" not in report.render(found)
