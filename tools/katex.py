"""Put another version of KaTeX into docs/assets/katex: the files that typeset the formulas of the site, and a licence.

Usage: npm pack katex && python tools/katex.py katex-VERSION.tgz

The site asks no other server for anything, so it carries KaTeX itself. Kept are the script, the style sheet and the
fonts in WOFF2, which every browser of the last ten years reads; the style sheet's pointers to other formats go.
"""

from __future__ import annotations

import re
import sys
import tarfile
from pathlib import Path

PLACE = Path(__file__).parent.parent / "docs" / "assets" / "katex"
KEPT = re.compile(r"package/(?:dist/)?(LICENSE|katex\.min\.js|katex\.min\.css|fonts/[\w-]+\.woff2)")
OTHER_FORMATS = re.compile(rb',\s*url\([^)]*\.(?:woff|ttf)\)\s*format\("?(?:woff|truetype)"?\)')


def main() -> None:
    """Replace all files of the old version with those of the new one."""
    if len(sys.argv) != 2:
        sys.exit(f"Usage: {__doc__.split('Usage: ')[1].splitlines()[0]}" if __doc__ else None)
    for old in sorted(PLACE.rglob("*"), reverse=True):
        old.rmdir() if old.is_dir() else old.unlink()
    with tarfile.open(sys.argv[1]) as package:
        for member in package:
            found, content = KEPT.fullmatch(member.name), package.extractfile(member)
            if found and content:
                path = PLACE / found[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(OTHER_FORMATS.sub(b"", content.read()))
    print(f"{sum(path.is_file() for path in PLACE.rglob('*'))} files in {PLACE}")


if __name__ == "__main__":
    main()
