// Typeset every formula that the build has marked: \( ... \) within a line, \[ ... \] on lines of its own.
for (const place of document.querySelectorAll(".arithmatex")) {
  const source = place.textContent.trim();
  katex.render(source.slice(2, -2).trim(), place, { displayMode: source.startsWith("\\["), throwOnError: false });
}
