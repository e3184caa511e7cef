// Figures as wide as the page allows; what scrolls can be reached from the keyboard; a link to a
// folded documentation opens it.
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

window.addEventListener("load", reachScrollable);
window.addEventListener("resize", reachScrollable);
window.addEventListener("load", openTarget);
window.addEventListener("hashchange", openTarget);
