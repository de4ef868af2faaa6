"""Draws the picture of the task's states anew: `python -m tests.domain.draw`. The domain itself touches no file."""

from pathlib import Path

from controlplane.domain import diagram

PAGE = Path(diagram.__file__).with_name("README.md")

if __name__ == "__main__":
    PAGE.write_text(diagram.redraw(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
