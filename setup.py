"""The long description for package indexes, which show README.md where no file of this tree stands beside it."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#)([^)]+)\)")


def description(readme: str, project: str) -> str:
    """The README with each link and picture in it absolute.

    By ``Repository`` of [project.urls]; as long as the project has no public address, a link is its words, and a
    picture is left out.
    """
    address = re.search(r'^Repository = "([^"]+?)/?"', project, re.MULTILINE)

    def absolute(link: re.Match[str]) -> str:
        picture, words, path = link.groups()
        if not address:
            return "" if picture else words
        return f"{picture}[{words}]({address[1]}/{'raw' if picture else 'blob'}/HEAD/{path})"

    return LINK.sub(absolute, readme)


if __name__ == "__main__":
    texts = (HERE.joinpath(name).read_text(encoding="utf-8") for name in ("README.md", "pyproject.toml"))
    setup(long_description=description(*texts), long_description_content_type="text/markdown")
