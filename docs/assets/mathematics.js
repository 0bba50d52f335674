// Typeset every formula that the build has marked: \( ... \) within a line, \[ ... \] on lines of its own. Equations
// that \qquad separates stand side by side where the page is wide enough, else below each other.
function equations(source) {
  const parts = [""];
  let depth = 0;
  for (const token of source.match(/\\[a-zA-Z]+|\\.|[^\\]/gs) ?? []) {
    depth += (token === "{") - (token === "}");
    if (token === "\\qquad" && depth === 0) parts.push("");
    else parts[parts.length - 1] += token;
  }
  return parts.map((part) => part.trim());
}

for (const place of document.querySelectorAll(".arithmatex")) {
  const marked = place.textContent.trim();
  const source = marked.slice(2, -2).trim();
  if (marked.startsWith("\\(")) {
    katex.render(source, place, { throwOnError: false });
    continue;
  }
  place.textContent = "";
  for (const equation of equations(source)) {
    const part = document.createElement("div");
    place.append(part);
    katex.render(equation, part, { displayMode: true, throwOnError: false });
  }
}
