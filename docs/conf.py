"""How Sphinx builds the guide: `make site`. The whole repository is its source, so that every link can be checked."""

project = "quest-integrity"
extensions = ["myst_parser", "sphinxcontrib.mermaid"]
html_theme = "furo"
html_title = project

root_doc = "docs/contents"
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/*.md",
    "docs/contents.rst",
    "sql/README.md",
    "sql/*/README.md",
]
exclude_patterns = [".*", "build", "dist"]

myst_fence_as_directive = ["mermaid"]
# As deep as GitHub's, so that a link works in both.
myst_heading_anchors = 6
nitpicky = True
# docs/races.md shows statements with places to fill in, which no lexer of SQL takes.
suppress_warnings = ["misc.highlighting_failure"]
