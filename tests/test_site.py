"""The pages: their snippets run, and every name in them leads to the API."""

import importlib.util
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import skebm

DOCS = Path(skebm.__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("user_guide/*.rst")) + [
    DOCS / f"{name}.rst" for name in ("getting_started", "index", "mathematics")
]
PAGES += [DOCS / f"{name}.rst" for name in ("install", "migration")]
#: Names of Python, which the pages may write as they are.
OF_PYTHON = {"ValueError", "TypeError", "KeyboardInterrupt"}
#: Options that make the fits of the snippets quick, by class.
QUICK = {
    "EBMDensityEstimator": {"max_iter": 1, "reference": "gaussian", "normalizer": None},
    "JEMClassifier": {"max_iter": 1, "stacking": False, "normalizer": None},
    "BernoulliRBM": {"n_iter": 1, "normalizer": None},
}


def load_links():
    spec = importlib.util.spec_from_file_location("links", DOCS / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


links = load_links()


def page_of(path):
    return str(path.relative_to(DOCS).with_suffix(""))


def prose(path):
    """Return a page without code and formulas."""
    text = path.read_text()
    text = re.sub(r"(::|code-block:: \w+)\n\n((   .*)?\n)+", "\n", text)
    return re.sub(r":[\w-]+:`[^`]*`", "", text)


@pytest.mark.parametrize("path", PAGES, ids=page_of)
def test_names_of_the_api_are_links(path):
    plain = [
        name
        for name in re.findall(r"(?<!`)``([A-Za-z_][\w.]*)``(?!`)", prose(path))
        if links.target(name, page_of(path)) and name not in OF_PYTHON
    ]
    assert not plain


@pytest.mark.parametrize("path", PAGES, ids=page_of)
def test_links_lead_somewhere(path):
    text = re.sub(r"``.+?``", "", prose(path), flags=re.DOTALL)
    roles = re.findall(r"(?<![:`\w])`([^`<>]+)`(?![_`])", text)
    lost = [name for name in roles if not links.target(name, page_of(path))]
    assert not lost
    for name in roles:
        full = links.target(name, page_of(path))
        if full.startswith("skebm.") and full.count(".") > 1:
            module, _, last = full.rpartition(".")
            while importlib.util.find_spec(module.partition(".")[0]) and last:
                try:
                    assert hasattr(importlib.import_module(module), last), full
                    break
                except ModuleNotFoundError:
                    module, _, kind = module.rpartition(".")
                    last = kind


def test_every_public_name_is_in_the_api():
    api = (DOCS / "api.rst").read_text()
    for room in ("", *(room for room in links.ROOMS if room != "training")):
        full = f"skebm.{room}" if room else "skebm"
        if importlib.util.find_spec(full) is None:
            continue
        module = importlib.import_module(full)
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                assert re.search(rf"^   {full}\.{name}$", api, re.MULTILINE), name


def test_the_estimators_are_first_in_the_api():
    listed = re.findall(r"^   (skebm\.\w[\w.]*)$", (DOCS / "api.rst").read_text(), re.M)
    assert set(listed[: len(skebm.__all__)]) == {f"skebm.{n}" for n in skebm.__all__}


def test_the_other_ebm_is_named_once():
    pages = [*DOCS.glob("*.rst"), *DOCS.glob("user_guide/*.rst")]
    assert sum(path.read_text().count("Explainable") for path in pages) == 1


# ------------------------------------------------------------------- snippets


def snippets(name):
    text = (DOCS / f"{name}.rst").read_text()
    found = re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", text)
    return [textwrap.dedent(code) for code in found]


def make_quick(monkeypatch):
    for name, options in QUICK.items():
        init = getattr(skebm, name).__init__
        parameters = inspect.signature(init).parameters
        positional = {
            n: options.get(n, p.default)
            for n, p in parameters.items()
            if p.kind is p.POSITIONAL_OR_KEYWORD and n != "self"
        }
        monkeypatch.setattr(init, "__defaults__", tuple(positional.values()))
        others = {n: v for n, v in options.items() if n not in positional}
        monkeypatch.setattr(init, "__kwdefaults__", init.__kwdefaults__ | others)


@pytest.mark.parametrize("name", ["getting_started", "migration"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::skebm.exceptions.SkebmWarning")
def test_snippets_run_one_after_the_other(name, monkeypatch, tmp_path):
    make_quick(monkeypatch)
    monkeypatch.chdir(tmp_path)
    found, names = snippets(name), {}
    assert len(found) >= 7
    for code in found:
        exec(compile(code, name, "exec"), names)
    assert {"density", "filled"} <= set(names) or "classifier" in names


def test_before_and_after_are_there_for_each_class():
    text = (DOCS / "migration.rst").read_text()
    for name in (
        "BernoulliRBM KernelDensity GaussianMixture SelfTrainingClassifier "
        "LabelSpreading IsolationForest IterativeImputer"
    ).split():
        section = text.partition(f"\nFrom {name}\n")[2].partition("\nFrom ")[0]
        before, after = re.findall(r"code-block:: python\n\n((?:   .*\n|\n)+)", section)
        assert name in before and "sklearn" in before
        assert "sklearn" not in after


# -------------------------------------------------------------- the built site


def test_dead_links_and_plain_names_are_found(tmp_path):
    spec = importlib.util.spec_from_file_location("check", DOCS / "check_site.py")
    check = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(check)
    guide = tmp_path / "user_guide"
    guide.mkdir()
    (tmp_path / "index.html").write_text('<h1 id="top">A</h1><a href="#top">B</a>')
    plain = '<code class="xref py">NCE</code>'
    linked = f'<a href="../index.html#top">{plain}</a>'
    dead = '<a href="../no.html">a</a><a href="../index.html#no">b</a><img src="c.png">'
    (guide / "a.html").write_text(plain + linked + dead + '<a href="https://d">e</a>')
    pages = {path: check.Page(path) for path in tmp_path.rglob("*.html")}
    lost = check.dead_links(tmp_path, pages)
    assert [name.split(": ")[1] for name in lost] == [
        "../no.html",
        "../index.html#no",
        "c.png",
    ]
    assert check.plain_names(tmp_path, pages) == ["user_guide/a.html: NCE"]
