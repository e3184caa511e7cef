// Figures as wide as the page allows and in the colours of its theme; what scrolls is reached from
// the keyboard; a link to a folded documentation opens it; a long part of the book is folded in the
// sidebar of other parts.
if (window.Plotly) {
  const draw = Plotly.newPlot;
  const drawn = new Map(); // data and layout as they were stored, by the place of the figure
  let theme = [];
  Plotly.newPlot = (place, data, layout, config) => {
    const fitting = { ...layout, autosize: true };
    delete fitting.width;
    drawn.set(place, [data, fitting]);
    theme = pageColours();
    return draw(place, ...recoloured([data, fitting], theme), {
      ...config,
      responsive: true,
      displaylogo: false,
    });
  };

  const follow = () => {
    const now = pageColours();
    if (now.join() === theme.join()) return;
    theme = now;
    for (const [place, figure] of drawn) Plotly.react(place, ...recoloured(figure, theme));
  };
  document.addEventListener("load", follow, true); // of the theme's style sheet, among others
  document.addEventListener("DOMContentLoaded", () =>
    new MutationObserver(follow).observe(document.body, { attributeFilter: ["class"] }),
  );
}

// Figures are stored for white paper. On the page white becomes its ground and black its text; on a
// dark ground greys and pale colours keep their contrast, and others get at least 4.5.
function pageColours() {
  const style = getComputedStyle(document.body ?? document.documentElement);
  return [style.backgroundColor, style.color];
}

function recoloured([data, layout], theme) {
  const clear = "rgba(0, 0, 0, 0)";
  const modebar = { bgcolor: clear, color: "#808080", activecolor: theme[1] };
  const ground = { paper_bgcolor: clear, plot_bgcolor: clear, modebar };
  return [inColours(data, "", theme), { ...inColours(layout, "", theme), ...ground }];
}

function inColours(value, name, theme) {
  if (typeof value === "string") return /color(way)?$/.test(name) ? onPage(value, theme) : value;
  if (Array.isArray(value)) return value.map((part) => inColours(part, name, theme));
  if (value?.constructor !== Object) return value;
  if (value.type === "heatmap") return inTwoColours(value, theme);
  const parts = Object.entries(value);
  return Object.fromEntries(parts.map(([key, part]) => [key, inColours(part, key, theme)]));
}

// A heat map between two colours; a scale of more is one of its own, whatever the ground.
function inTwoColours(map, theme) {
  if (map.colorscale?.length !== 2) return map;
  const colorscale = inColours(map.colorscale, "color", theme);
  return { ...map, colorscale, textfont: { ...map.textfont, color: theme[1] } };
}

const pen = document.createElement("canvas").getContext("2d");

function channels(colour) {
  pen.fillStyle = colour;
  const found = pen.fillStyle; // #rrggbb, or rgba(...) where it lets something through
  if (found[0] !== "#") return found.match(/[\d.]+/g).map(Number);
  return [...[1, 3, 5].map((at) => parseInt(found.slice(at, at + 2), 16)), 1];
}

function contrast(a, b) {
  const [low, high] = [a, b]
    .map((colour) => {
      const part = colour.map((c) => (c > 10 ? ((c / 255 + 0.055) / 1.055) ** 2.4 : c / 3294.6));
      return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    })
    .sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

function onPage(colour, theme) {
  if (!CSS.supports("color", colour)) return colour;
  const [ground, text] = theme.map((part) => channels(part).slice(0, 3));
  const [r, g, b, share] = channels(colour);
  const white = [255, 255, 255];
  const distance = contrast([r, g, b], white);
  const grey = Math.max(r, g, b) - Math.min(r, g, b) < 12;
  const on = (rgb) => `rgba(${rgb.map(Math.round).join(", ")}, ${share})`;
  if (grey && distance > 12) return on(text);
  if (distance < 1.05) return on(ground);
  if (contrast(ground, white) < 3) return colour;
  const quiet = grey || distance < 2.2;
  const [from, to, least] = quiet
    ? [ground, grey ? white : [r, g, b], distance]
    : [[r, g, b], white, 4.5];
  let mixed = from;
  for (let t = 0; t < 1 && contrast(mixed, ground) < least; t += 0.02) {
    mixed = from.map((c, at) => c + (to[at] - c) * t);
  }
  return on(mixed);
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
