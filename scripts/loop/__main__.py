"""``python -m kfp_lifecycle.scripts.loop FOLDER``: the whole of 2013; the page is FOLDER/report.html."""

import sys
import time
from pathlib import Path

from kfp_lifecycle.components.shared.step import entry_point
from kfp_lifecycle.scripts.loop.loop import Loop, Settings
from kfp_lifecycle.scripts.loop.report import render_report


def main() -> None:
    """Runs the loop in the folder that is named, which must be new or empty."""
    home = Path(sys.argv[1] if len(sys.argv) > 1 else f"runs/loop-{time.strftime('%Y%m%d-%H%M%S')}")
    if home.exists() and any(home.iterdir()):
        raise SystemExit(f"{home} is not empty. Name a new folder.")
    course = Loop(home, Settings(), tell=lambda text: print(text, flush=True)).run()
    page = home.absolute() / "report.html"
    page.write_text(render_report(course), encoding="utf-8")
    print(f"Report: {page}")
    failed = [*course.replayed.failed, *course.meanwhile.failed]
    if failed:
        raise SystemExit(f"{len(failed)} requests have failed, such as: {failed[0]}")


if __name__ == "__main__":
    with entry_point():
        main()
