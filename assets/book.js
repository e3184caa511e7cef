// Figures as wide as the page allows; what scrolls can be reached from the keyboard; a link to a
// folded documentation opens it; a long part of the book is folded in the sidebar of other parts.
if (window.Plotly) {
  const draw = Plotly.newPlot;
  Plotly.newPlot = (place, data, layout, config) => {
    const fitting = { ...layout, autosize: true };
    delete fitting.width;
    return draw(place, data, fitting, { ...config, responsive: true, displaylogo: false });
  };
}

function reachScrollable() {
  for (const part of document.querySelectorAll("main pre, main .scrolls, main math, main div")) {
    if (part.scrollWidth <= part.clientWidth || part.closest(".plotly-graph-div")) continue;
    if (["auto", "scroll"].includes(getComputedStyle(part).overflowX)) part.tabIndex = 0;
  }
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.matches("details")) target.open = true;
}

function foldLongParts() {
  for (const list of document.querySelectorAll("#quarto-sidebar ul.sidebar-section.show")) {
    if (list.children.length < 20 || list.querySelector(".active")) continue;
    list.classList.remove("show");
    for (const opener of document.querySelectorAll(`[data-bs-target="#${list.id}"]`)) {
      opener.classList.add("collapsed");
      opener.setAttribute("aria-expanded", "false");
    }
  }
}

document.addEventListener("DOMContentLoaded", foldLongParts);
window.addEventListener("load", reachScrollable);
window.addEventListener("resize", reachScrollable);
window.addEventListener("load", openTarget);
window.addEventListener("hashchange", openTarget);
