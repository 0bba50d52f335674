"use strict";
// On every page: a hint where something is wider than its place, and nothing folded on paper.
(() => {
  const mark = (place) => place.classList.toggle("overflows", place.scrollWidth > place.clientWidth + 1);
  const observer = new ResizeObserver((entries) => entries.forEach((entry) => mark(entry.target)));
  document.querySelectorAll(".scroll").forEach((place) => observer.observe(place));
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open], .screen)")];
    opened.forEach((place) => { place.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((place) => { place.open = false; }));
})();
