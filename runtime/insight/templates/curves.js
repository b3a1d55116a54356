// Curves: the numbers under the mouse or the arrow keys, a logarithmic axis, smoothing, and the numbers as a table.
{
const tip = document.body.appendChild(document.createElement("div"));
tip.className = "tip";
tip.hidden = true;
const digits = (number) => number === null || number === undefined ? "" : String(Number(number.toPrecision(4)));

// The points of a path, each with the letter that leads to it.
const pointsOf = (path) =>
  [...path.matchAll(/([ML])(-?[\d.]+) (-?[\d.]+)/g)].map(([, letter, x, y]) => [letter, Number(x), Number(y)]);

// The exponential moving average of a path in pixels, corrected for its beginning; `keep` is between 0 and 1.
function smoothed(path, keep) {
  let sum = 0, weight = 0;
  return pointsOf(path).map(([letter, x, y]) => {
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return `${letter}${x} ${(sum / weight).toFixed(1)}`;
  }).join("");
}

for (const form of document.querySelectorAll(".tools")) {
  form.hidden = false;
  form.querySelector("[name=log]").closest("label").hidden = !document.querySelector(".curves .logarithmic");
}
document.addEventListener("input", ({ target }) => {
  if (target.name === "log") document.body.classList.toggle("is-log", target.checked);
  if (target.name !== "smoothing") return;
  for (const raw of document.querySelectorAll(".curves g:not(.guide) > .trace:not(.smooth)")) {
    raw.classList.toggle("raw", Number(target.value) > 0);
    let line = raw.nextElementSibling;
    if (!line?.classList.contains("smooth")) {
      line = raw.cloneNode();
      line.setAttribute("class", "trace smooth");
      raw.after(line);
    }
    line.setAttribute("d", Number(target.value) > 0 ? smoothed(raw.getAttribute("d"), Number(target.value)) : "");
  }
});

for (const figure of document.querySelectorAll(".curves figure")) {
  const { x, names, numbers, pixels: [from, to, top, bottom] } = JSON.parse(figure.querySelector("script").textContent);
  const plots = [...figure.querySelectorAll("svg")];
  const span = x.at(-1) - x[0];
  const pixel = (i) => span ? from + (to - from) * (x[i] - x[0]) / span : from;
  let chosen = -1;

  function show(i, event) {
    chosen = i;
    const plot = plots.find((each) => each.getClientRects().length), box = plot.getBoundingClientRect();
    figure.querySelectorAll(".cross").forEach((line) => line.remove());
    const cross = document.createElementNS(plot.namespaceURI, "path");
    cross.setAttribute("class", "cross");
    cross.setAttribute("d", `M${pixel(i).toFixed(1)} ${top}V${bottom}`);
    plot.append(cross);
    tip.replaceChildren(...[["epoch", x[i]], ...names.map((name, n) => [name, numbers[n][i]])].map(([name, number]) => {
      const row = document.createElement("div");
      row.append(name, " ", digits(number));
      return row;
    }));
    tip.hidden = false;
    const left = box.left + pixel(i) * box.width / plot.viewBox.baseVal.width;
    tip.style.left = `${Math.max(0, Math.min(left + 14, innerWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, Math.min((event?.clientY ?? box.top) + 14, innerHeight - tip.offsetHeight - 4))}px`;
  }
  function hide() {
    figure.querySelectorAll(".cross").forEach((line) => line.remove());
    tip.hidden = true;
    chosen = -1;
  }
  for (const plot of plots) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const at = (event.clientX - box.left) * plot.viewBox.baseVal.width / box.width;
      const distances = x.map((_, i) => Math.abs(pixel(i) - at));
      show(distances.indexOf(Math.min(...distances)), event);
    });
    plot.addEventListener("pointerleave", hide);
  }
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.target !== figure) return;
    event.preventDefault();
    show(Math.max(0, Math.min(x.length - 1, chosen + step)));
  });
  figure.querySelector("details").addEventListener("toggle", ({ target }) => {
    if (!target.open || target.querySelector("table")) return;
    const table = document.createElement("table");
    const row = (cells, tag) => {
      const line = table.insertRow();
      for (const cell of cells) line.appendChild(document.createElement(tag)).textContent = cell;
    };
    row(["epoch", ...names], "th");
    x.forEach((epoch, i) => row([epoch, ...numbers.map((line) => digits(line[i]))], "td"));
    target.querySelector(".wide").append(table);
  });
}
}
