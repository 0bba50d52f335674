r"""Turn Sphinx's mathematics in docstrings into the site's: `.. math::` into $$...$$, :math:`...` into $...$.

Usage: python tools/one_syntax_for_mathematics.py [--check]

Run once over a tree at rest. Formulas in plain text that the site would spoil, such as averages <a x^T>, which Markdown
takes for HTML tags and drops, become $\langle a x^T \rangle$. Paragraphs with a line that grew too
long are wrapped again; lines that are still too long are named. With --check nothing is written; the exit code is 1
where something is left to turn.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("neuro_decorr", "models", "protocols", "analysis", "benchmarks", "examples")
LENGTH = 120

# The directive, what stands behind it, and all lines that are indented further (a blank line ends it, once begun).
BLOCK = re.compile(
    r"^(?P<indent> *)\.\. math::[ ]?(?P<first>.*)\n(?:[ ]*\n(?=(?P=indent) +\S))?(?P<more>(?:(?P=indent) +\S.*\n)*)",
    re.MULTILINE,
)
ROLE = re.compile(r":math:`([^`]+)`")
PLAIN = {
    r"m \pm t_{n-1}((1 + confidence) / 2) s / sqrt(n)": r"$m \pm t_{n-1}((1 + \text{confidence}) / 2)\, s / \sqrt n$",
    "at w = <y x> / (<y> <x>) - 1": r"at $w = \langle y x \rangle / (\langle y \rangle \langle x \rangle) - 1$",
    "dW = alpha (<y_i y_j> - p^2)": r"$dW = \alpha (\langle y_i y_j \rangle - p^2)$",
    "<S_i x_j> + <S_j x_i> = 2 C_ij / tau": r"$\langle S_i x_j \rangle + \langle S_j x_i \rangle = 2 C_{ij} / \tau$",
    "W <- (W + eta <a x^T>) / p": r"$W \leftarrow (W + \eta \langle a x^T \rangle) / p$",
    "W <- (W + eta <a x^T>) / g": r"$W \leftarrow (W + \eta \langle a x^T \rangle) / g$",
    "1 - eta <u_i^2> / v_i": r"$1 - \eta \langle u_i^2 \rangle / v_i$",
    "<x, (I + M) x> >= mu |x|^2": r"$\langle x, (I + M) x \rangle \ge \mu |x|^2$",
}


def display(match: re.Match[str]) -> str:
    """One displayed formula; on lines of its own where it has several."""
    indent, more = match["indent"], textwrap.dedent(match["more"]).splitlines()
    lines = [line.strip() for line in [match["first"], *more] if line.strip()]
    if len(lines) == 1 and len(indent) + len(lines[0]) + 4 <= LENGTH:
        return f"{indent}$${lines[0]}$$\n"
    return "".join(f"{indent}{line}\n" for line in ["$$", *lines, "$$"])


def wrapped(text: str) -> str:
    """The text with its paragraphs, or items of a list, wrapped again from the first line that is too long."""
    lines, done = text.split("\n"), []
    while lines:
        line = lines.pop(0)
        if len(line) > LENGTH and "$" in line and '"""' not in line:
            indent = line[: len(line) - len(line.lstrip())]
            further = indent + "  " if line.lstrip().startswith(("- ", "* ")) else indent
            while lines and re.match(further + r"[^\s\-*]", lines[0]) and '"""' not in lines[0]:
                line += " " + lines.pop(0).strip()
            whole = re.sub(r"\$[^$]+\$|`[^`]+`", lambda found: found[0].replace(" ", "\0"), line.strip())
            # A no-break space of the width of one character keeps formulas and code together while wrapping.
            for piece in textwrap.wrap(
                whole,
                LENGTH,
                initial_indent=indent,
                subsequent_indent=further,
                break_long_words=False,
                break_on_hyphens=False,
            ):
                done.append(piece.replace("\0", " "))
        else:
            done.append(line)
    return "\n".join(done)


def converted(text: str) -> str:
    """A source with the one syntax."""
    text = ROLE.sub(lambda role: f"${role[1].strip()}$", BLOCK.sub(display, text))
    for old, new in PLAIN.items():
        text = text.replace(old, new)
    return wrapped(text)


def main() -> int:
    """Convert or check; see the usage above."""
    check, changed = "--check" in sys.argv[1:], 0
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not (re.search(r"\.\. math::|:math:`", text) or any(old in text for old in PLAIN)):
            continue
        new, changed = converted(text), changed + 1
        for number, line in enumerate(new.splitlines(), start=1):
            if len(line) > LENGTH:
                print(f"{path.relative_to(ROOT)}:{number}: {len(line)} characters")
        if not check:
            path.write_text(new, encoding="utf-8")
    print(f"{changed} files {'to turn' if check else 'turned'}")
    return int(check and changed > 0)


if __name__ == "__main__":
    sys.exit(main())
