"""Draw the figures of docs/recordings.md from the recordings in examples/recordings: `python tools/recordings.py`."""

from __future__ import annotations

from pathlib import Path

from neuro_decorr.report.analyse import analyse
from neuro_decorr.report.options import Options

ROOT = Path(__file__).resolve().parent.parent
RECORDINGS, FIGURES = ROOT / "examples" / "recordings", ROOT / "docs" / "figures"


def main() -> None:
    """Write the figures, and print what the page says of them."""
    one = analyse(Options(RECORDINGS / "single_interaction.nix"), figures=True)
    both = analyse(
        Options(RECORDINGS / "lateral_inhibition_before.npz", against=str(RECORDINGS / "lateral_inhibition_after.npz")),
        figures=True,
    )
    for name, analysis, sheet in (("recording", one, "correlations"), ("recording_comparison", both, "comparison")):
        drawn = next(found for part in analysis.parts for found in part.sheets if found.name == sheet)
        (FIGURES / f"{name}.png").write_bytes(drawn.png)
        print(f"docs/figures/{name}.png: {drawn.caption}")
    for part in both.parts:
        print(part.title, *part.warnings, *part.facts, sep="\n  ")
        print(*(table.frame.to_string() for table in part.tables if table.printed), sep="\n")


if __name__ == "__main__":
    main()
