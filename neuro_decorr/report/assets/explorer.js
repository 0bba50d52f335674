"use strict";
// Curves of a study that one can ask for values, choose from and zoom into. Names are text everywhere, never HTML.
(() => {
  const MARKERS = [["circle", "●"], ["square", "■"], ["diamond", "◆"], ["triangle-up", "▲"], ["triangle-down", "▼"],
    ["cross", "✚"], ["x", "✖"], ["star", "★"]];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const BORDERS = { solid: "solid", dash: "dashed", dot: "dotted", dashdot: "double" };
  const ROWS = 500;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const explorers = [];
  let printing = false;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const words = (name) => name.replace(/_/g, " ");
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const digits = (value) => (value === null ? "" : String(Number(value.toPrecision(4))));
  const isDark = () => dark.matches && !printing;
  const ink = () => (isDark() ? "#e6edf3" : "#1f2328");
  const shade = (colour) => (colour === "#000000" ? ink() : colour);
  const faint = (colour) => {
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(shade(colour).slice(k, k + 2), 16));
    return `rgba(${r},${g},${b},0.16)`;
  };
  const chooser = (label, names, chosen, change) => {
    const select = make("select", { onchange: () => change(select.selectedIndex) });
    names.forEach((name, number) => select.add(new Option(name, number, false, number === chosen)));
    return make("label", {}, label, select);
  };
  const button = (text, click) => make("button", { type: "button", textContent: text, onclick: click });

  class Explorer {
    constructor(place, courses) {
      this.achieved = place.dataset.only === "achieved";
      this.courses = courses.filter((course) => !this.achieved || course.achieved.length);
      this.controls = make("div", { className: "controls" });
      this.arms = make("div");
      this.plot = make("div", { className: "plot" });
      this.plot.setAttribute("role", "img");
      this.caption = make("figcaption");
      this.caption.setAttribute("aria-live", "polite");
      this.values = make("div", { className: "scroll", tabIndex: 0 });
      this.details = make("details", { className: "screen", ontoggle: () => this.tabulate() },
        make("summary", { textContent: "These values as a table" }), this.values);
      const buttons = make("div", { className: "buttons" }, button("Zoom in", () => this.zoom(0.5)),
        button("Zoom out", () => this.zoom(2)), button("Whole range", () => this.zoom(0)),
        button("Save these values (CSV)", () => this.save()));
      place.append(this.controls, this.arms, make("figure", {}, this.plot, this.caption), buttons, this.details);
      this.take(0);
      // A telephone that is turned, a window made narrower: at once, and also where no window tells of it.
      new ResizeObserver(() => {
        const { clientWidth } = this.plot;
        if (printing || !clientWidth || this.width === undefined || this.width === clientWidth) return;
        this.width = clientWidth;
        Plotly.relayout(this.plot, { autosize: true });
      }).observe(this.plot);
    }

    take(number) {
      this.number = number;
      this.course = this.courses[number];
      const course = this.course;
      this.quantities = this.achieved ? course.achieved : course.quantities.map((_, k) => k);
      this.quantity = this.achieved ? course.achieved[0] : course.first;
      this.choices = course.choices.map(() => 0);
      this.shown = { arms: course.arms.map(() => true), studies: course.studies.map(() => true) };
      const axis = this.range("x");
      this.log = { x: course.axis !== "" && axis[0] > 0 && axis[1] / axis[0] > 1000, y: false };
      this.scale();
      this.build();
    }

    // Logarithmic where a quantity goes over three decades, until the reader chooses.
    scale() {
      const values = this.course.series.mean[this.quantity].filter((value) => value !== null);
      const least = Math.min(...values);
      this.log.y = least > 0 && Math.max(...values) / least > 1000;
    }

    range(name) {
      const values = this.course.series[name].filter((value) => value !== null);
      return [Math.min(...values), Math.max(...values)];
    }

    build() {
      const course = this.course;
      const titles = this.courses.map((one) => `${words(one.kind)}, stage ${one.stage}`);
      const controls = [chooser("Measured", titles, this.number, (k) => { this.take(k); this.draw(); })];
      controls.push(chooser("Quantity", this.quantities.map((k) => words(course.quantities[k])),
        this.quantities.indexOf(this.quantity), (k) => {
          this.quantity = this.quantities[k]; this.scale(); this.build(); this.draw();
        }));
      course.choices.forEach(([name, levels], number) => controls.push(
        chooser(words(name), levels.map(words), this.choices[number], (k) => { this.choices[number] = k; this.draw(); })));
      const scales = course.axis ? ["y", "x"] : ["x"];
      const boxes = scales.map((name) => {
        const which = course.axis ? name : "y";
        return this.box(`logarithmic ${name}`, this.log[which], (on) => { this.log[which] = on; this.draw(); });
      });
      this.controls.replaceChildren(...controls, ...boxes);
      this.arms.replaceChildren();
      this.list("arms", course.arm, course.arms, course.arms.map((_, k) => [course.colours[k], this.dash(0, k), k]));
      if (course.studies.length > 1) {
        this.list("studies", "study", course.studies, course.studies.map((_, k) => ["#000000", DASHES[k % 4], null]));
      }
    }

    box(text, checked, change, ...before) {
      const input = make("input", { type: "checkbox", checked, onchange: () => change(input.checked) });
      return make("label", {}, input, ...before, text);
    }

    list(group, title, names, looks) {
      if (names.length < 2) return;
      const set = make("fieldset", {}, make("legend", { textContent: words(title) }));
      const boxes = names.map((name, k) => {
        const [colour, dash, marker] = looks[k];
        const swatch = make("span", { className: "swatch", textContent: marker === null ? " " : MARKERS[marker % 8][1] });
        swatch.setAttribute("aria-hidden", "true");
        Object.assign(swatch.style, colour === "#000000" ? { borderBottomStyle: BORDERS[dash] }
          : { color: colour, borderBottomStyle: BORDERS[dash] });
        const diverged = group === "arms" ? this.course.diverged.reduce((sum, one) => sum + one[k], 0) : 0;
        const text = words(name) + (diverged ? ` (${diverged} diverged)` : "");
        return this.box(text, this.shown[group][k], (on) => { this.shown[group][k] = on; this.draw(); }, swatch);
      });
      const all = (on) => {
        this.shown[group].fill(on);
        boxes.forEach((label) => { label.firstChild.checked = on; });
        this.draw();
      };
      const row = make("div", { className: "buttons" }, button("All", () => all(true)), button("None", () => all(false)));
      set.append(...boxes, row);
      this.arms.append(set);
    }

    dash(study, arm) {
      return this.course.studies.length > 1 ? DASHES[study % 4] : this.course.dashes[arm];
    }

    // The curves that are shown: what each holds of the chosen quantity.
    curves() {
      const { series } = this.course;
      const found = [];
      series.cells.forEach(([study, arm, ...levels], number) => {
        if (!this.shown.studies[study] || !this.shown.arms[arm] || levels.some((k, c) => k !== this.choices[c])) return;
        const [from, to] = [series.starts[number], series.starts[number + 1]];
        const points = [];
        for (let k = from; k < to; k += 1) {
          const mean = series.mean[this.quantity][k];
          const half = series.half[this.quantity][k];
          if (mean !== null) points.push({ x: series.x[k], mean, half, n: series.n[this.quantity][k] });
        }
        if (points.length) found.push({ study, arm, points });
      });
      return found;
    }

    name(curve) {
      const { arms, studies } = this.course;
      return [words(arms[curve.arm]), studies.length > 1 ? studies[curve.study] : ""].filter(Boolean).join(", ");
    }

    hover(curve, point) {
      const { axis, quantities } = this.course;
      const interval = point.half === null ? "one seed, no interval"
        : `95 % ${digits(point.mean - point.half)} to ${digits(point.mean + point.half)}`;
      const where = axis ? `${plain(words(axis))} ${digits(point.x)}<br>` : "";
      return `<b>${plain(this.name(curve))}</b><br>${where}${plain(words(quantities[this.quantity]))} `
        + `${digits(point.mean)}<br>${interval}, n = ${point.n}`;
    }

    traces(curves) {
      const { axis, arms, studies, colours } = this.course;
      return curves.flatMap((curve) => {
        const { points } = curve;
        const colour = shade(colours[curve.arm]);
        const dash = this.dash(curve.study, curve.arm);
        const symbol = MARKERS[curve.arm % 8][0] + (studies.length > 1 && curve.study % 2 ? "-open" : "");
        const shared = {
          type: "scatter", name: plain(this.name(curve)), text: points.map((point) => this.hover(curve, point)),
          hovertemplate: "%{text}<extra></extra>", marker: { symbol, color: colour, size: 8, maxdisplayed: 15 },
        };
        if (!axis) {
          return [{ ...shared, mode: "markers", orientation: "h", offsetgroup: String(curve.study),
            x: points.map((point) => point.mean), y: points.map(() => plain(words(arms[curve.arm]) || "all runs")),
            error_x: { type: "data", array: points.map((point) => point.half), color: colour, thickness: 2 } }];
        }
        const known = points.filter((point) => point.half !== null);
        const low = (point) => (this.log.y && point.mean <= point.half ? point.mean / 1e3 : point.mean - point.half);
        const band = {
          type: "scatter", mode: "lines", line: { width: 0 }, fill: "toself", hoverinfo: "skip", name: shared.name,
          fillcolor: faint(colours[curve.arm]), x: [...known, ...known.slice().reverse()].map((point) => point.x),
          y: [...known.map((point) => point.mean + point.half), ...known.slice().reverse().map(low)],
        };
        const line = { ...shared, mode: "lines+markers", line: { color: colour, dash, width: 2 },
          x: points.map((point) => point.x), y: points.map((point) => point.mean) };
        return known.length > 1 ? [band, line] : [line];
      });
    }

    draw() {
      const { course } = this;
      this.plot.style.height = course.axis ? "" : `${110 + 32 * course.arms.length * course.studies.length}px`;
      const curves = this.curves();
      const quantity = words(course.quantities[this.quantity]);
      const line = { gridcolor: isDark() ? "#3a424d" : "#e3e7ec", linecolor: ink(), zeroline: false, automargin: true };
      const number = (title, log) => ({ ...line, title: { text: plain(title) }, type: log ? "log" : "linear",
        exponentformat: "power" });
      // Epochs are counted: between 1 and 2 is none.
      const [from, to] = this.range("x");
      const counted = !this.log.x && to - from <= 12 && course.series.x.every(Number.isInteger);
      const layout = {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
        font: { color: ink(), family: "system-ui, sans-serif", size: 13 }, margin: { l: 55, r: 12, t: 28, b: 45 },
        dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
        modebar: { bgcolor: "rgba(0,0,0,0)", color: isDark() ? "#9da7b3" : "#57606a", activecolor: ink() },
        uirevision: `${this.number} ${this.quantity} ${this.log.x} ${this.log.y}`,
        xaxis: course.axis ? { ...number(words(course.axis), this.log.x), ...(counted ? { tick0: from, dtick: 1 } : {}) }
          : number(quantity, this.log.y),
        yaxis: course.axis ? number(quantity, this.log.y) : { ...line, type: "category", autorange: "reversed" },
      };
      if (!course.axis && course.studies.length > 1) layout.scattermode = "group"; // beside each other, not over
      if (printing) Object.assign(layout, { width: 660, height: 340 });
      if (!curves.length) layout.annotations = [{ text: "nothing was measured for this choice", showarrow: false,
        xref: "paper", yref: "paper", x: 0.5, y: 0.5 }];
      const removed = ["select2d", "lasso2d", "autoScale2d"];
      Plotly.react(this.plot, this.traces(curves), layout,
        { displaylogo: false, modeBarButtonsToRemove: removed });
      this.width = this.plot.clientWidth;
      this.describe(curves, quantity);
      this.tabulate(curves);
    }

    describe(curves, quantity) {
      const { course } = this;
      const counts = curves.flatMap((curve) => curve.points.map((point) => point.n));
      const [fewest, most] = [Math.min(...counts), Math.max(...counts)];
      const n = !counts.length ? "none" : fewest === most ? `n = ${most} ${most === 1 ? "seed" : "seeds"}` : `n = ${fewest} to ${most} seeds`;
      const chosen = course.choices.map(([name, levels], k) => `${words(name)} ${words(levels[this.choices[k]])}`);
      const along = course.axis ? ` along ${words(course.axis)}` : "";
      const interval = most > 1 ? `; ${course.axis ? "shaded" : "bars"}: 95 % interval (Student)` : "";
      const parts = [`${quantity[0].toUpperCase()}${quantity.slice(1)}${along}: mean over seeds${interval}; ${n}.`];
      if (chosen.length) parts.push(`Chosen: ${chosen.join(", ")}.`);
      if (course.diverged.some((study) => study.some(Boolean))) {
        parts.push("Runs that diverged, counted over all choices, count as long as they have values.");
      }
      if (this.log.y && course.axis) parts.push("An interval that reaches 0 goes out of a logarithmic axis.");
      if (course.note) parts.push(course.note);
      this.caption.textContent = parts.join(" ");
      this.plot.setAttribute("aria-label", `${parts.join(" ")} The values are in the table below.`);
    }

    rows(curves) {
      const { axis, arm, studies } = this.course;
      const head = [studies.length > 1 ? "study" : null, arm ? words(arm) : null, axis ? words(axis) : null, "mean",
        "low", "high", "n"];
      const rows = curves.flatMap((curve) => curve.points.map((point) => [this.course.studies[curve.study],
        words(this.course.arms[curve.arm]), point.x, point.mean, point.half === null ? null : point.mean - point.half,
        point.half === null ? null : point.mean + point.half, point.n]));
      const kept = head.map((name, k) => k).filter((k) => head[k] !== null);
      return [kept.map((k) => head[k]), rows.map((row) => kept.map((k) => row[k]))];
    }

    tabulate(curves = this.curves()) {
      if (!this.details.open) return;
      const [head, rows] = this.rows(curves);
      const cell = (value) => make("td", { textContent: typeof value === "number" ? digits(value) : value ?? "",
        className: typeof value === "string" ? "short" : "number" });
      const body = rows.slice(0, ROWS).map((row) => make("tr", {}, ...row.map(cell)));
      const table = make("table", {}, make("thead", {}, make("tr", {},
        ...head.map((name) => make("th", { textContent: name, scope: "col" })))), make("tbody", {}, ...body));
      const more = rows.length > ROWS ? [make("p", { textContent: `${rows.length - ROWS} more rows are in the CSV.` })] : [];
      this.values.replaceChildren(table, ...more);
    }

    save() {
      const [head, rows] = this.rows(this.curves());
      const quoted = (value) => (typeof value === "string" ? `"${value.replace(/"/g, '""')}"` : value ?? "");
      const text = [head, ...rows].map((row) => row.map(quoted).join(",")).join("\n");
      make("a", { download: `${this.course.kind}_${this.course.quantities[this.quantity]}.csv`,
        href: `data:text/csv;charset=utf-8,${encodeURIComponent(`${text}\n`)}` }).click();
    }

    // Around the centre, by buttons, for those who cannot drag; 0: everything.
    zoom(factor) {
      const changed = {};
      for (const name of this.course.axis ? ["xaxis", "yaxis"] : ["xaxis"]) {
        const [low, high] = this.plot.layout[name].range;
        const [centre, half] = [(low + high) / 2, ((high - low) / 2) * factor];
        changed[factor ? `${name}.range` : `${name}.autorange`] = factor ? [centre - half, centre + half] : true;
      }
      Plotly.relayout(this.plot, changed);
    }
  }

  // The first at once, the others when the reader comes near.
  const known = {};
  const places = new Set(document.querySelectorAll(".explorer"));
  const show = (place) => {
    if (!places.delete(place)) return;
    const source = place.dataset.source;
    known[source] ??= JSON.parse(document.getElementById(source).textContent);
    place.replaceChildren();
    const explorer = new Explorer(place, known[source]);
    explorers.push(explorer);
    explorer.draw();
    place.dataset.drawn = String(Math.round(performance.now()));
  };
  const near = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting)
    .forEach((entry) => show(entry.target)), { rootMargin: "600px" });
  places.forEach((place) => near.observe(place));
  show(places.values().next().value);
  const again = (paper) => {
    printing = paper;
    if (paper) places.forEach(show);
    explorers.forEach((explorer) => explorer.draw());
  };
  dark.addEventListener("change", () => again(printing));
  addEventListener("beforeprint", () => again(true));
  addEventListener("afterprint", () => again(false));
})();
