"""How the documentation is built: `scripts/docs`."""

import re
import shutil
from pathlib import Path

project = "unwarp"
author = "The unwarp authors"
copyright = author  # noqa: A001 - Sphinx's name
html_title = "unwarp"
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": {"[!_]*": ["page-toc"], "_reference/*": ["page-toc"]},  # figures need the width
}
html_show_sourcelink = False

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
HERE = Path(__file__).parent
GALLERIES = {"ideas": "_gallery", "inference": "_inference"}  # folders of scripts, and of the pages made of them
exclude_patterns = [
    "_build",
    *GALLERIES,
    *(  # earlier builds leave pages of scripts that are gone
        f"{pages}/{page.name}"
        for scripts, pages in GALLERIES.items()
        for page in HERE.glob(f"{pages}/plot_*.rst")
        if not (HERE / scripts / f"{page.stem}.py").exists()
    ),
]
suppress_warnings = [
    "myst.xref_missing",
    "config.cache",
]  # pages link to files outside of docs/ too, for who reads them there
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_rtype = False
napoleon_use_ivar = True


def figures_of_blocks(block, block_vars, gallery_conf):  # noqa: ARG001 - the gallery's signature
    """Show what a block ends with, where that is a figure, axes or the path of a film."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    last = block_vars["example_globals"].get("___")
    if isinstance(last, Path):
        block_vars["example_globals"]["___"] = None
        path = Path(next(block_vars["image_path_iterator"])).with_suffix(last.suffix)
        shutil.copyfile(last, path)
        return figure_rst([path], gallery_conf["src_dir"])
    first = last.flat[0] if type(last).__name__ == "ndarray" and last.size else last
    figure = first if isinstance(first, Figure) else getattr(first, "figure", None)
    if not isinstance(figure, Figure):
        return ""
    block_vars["example_globals"]["___"] = None  # shown once
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=110)
    return figure_rst([path], gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "examples_dirs": list(GALLERIES),
    "gallery_dirs": list(GALLERIES.values()),
    "filename_pattern": "/plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": [figures_of_blocks],
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": True,
    "reset_modules": (),
    "remove_config_comments": True,
}


def dollars_to_math(app, what, name, obj, options, lines):  # noqa: ARG001 - Sphinx's signature
    """Docstrings write formulas as $...$, and displayed ones as $$...$$."""
    text = re.sub(r"\$\$([^$]+)\$\$", lambda m: ".. math:: " + " ".join(m[1].split()), "\n".join(lines))
    text = re.sub(r"\$([^$]+)\$", lambda m: ":math:`" + " ".join(m[1].split()) + "`", text)
    lines[:] = text.split("\n")


def link_to_gallery(app, page, source):  # noqa: ARG001 - Sphinx's signature
    """Links to scripts lead to the pages that are made of them."""
    text = source[0]
    for scripts, pages in GALLERIES.items():
        text = text.replace(f"]({scripts})", f"]({pages}/index.rst)")
        text = re.sub(rf"\]\({scripts}/(\w+)\.py\)", rf"]({pages}/\1.rst)", text)
    source[0] = text


def write_reference(app):
    """One page for each public package."""
    folder = Path(app.srcdir, "_reference")
    folder.mkdir(exist_ok=True)
    packages = [
        "flows",
        "transforms",
        "univariates",
        "networks",
        "distributions",
        "training",
        "data",
        "applications",
        "doctor",
        "plots",
        "functional",
    ]
    for package in packages:
        title = f"{package}\n{'=' * len(package)}"
        text = f"{title}\n\n.. automodule:: unwarp.{package}\n   :members:\n   :imported-members:\n"
        page = folder / f"{package}.rst"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
    listing = "\n".join(f"   {package}" for package in packages)
    text = f"Reference\n=========\n\n.. toctree::\n\n{listing}\n"
    Path(folder, "index.rst").write_text(text, encoding="utf-8")


def setup(app):
    """Hook them in."""
    app.connect("source-read", link_to_gallery)
    app.connect("autodoc-process-docstring", dollars_to_math)
    app.connect("builder-inited", write_reference)
