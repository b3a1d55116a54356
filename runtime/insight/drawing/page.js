// Draws the links between boxes, folds and unfolds them, shows their details. The browser lays out the grids itself;
// `facts` holds the links and the details.
const facts = JSON.parse(document.getElementById("facts").textContent);
const picture = document.getElementById("picture");
const lines = picture.querySelector("svg");
const element = (item) => document.getElementById(item);
const isOpen = (box) => box.classList.contains("open");

// An item's middle, top and bottom in the picture.
function position(item) {
  const frame = picture.getBoundingClientRect(), box = element(item).getBoundingClientRect();
  return { x: (box.left + box.right) / 2 - frame.left, top: box.top - frame.top, bottom: box.bottom - frame.top };
}

// Where a link begins or ends: at a box, at a port of an open box, or at the middle of a lane.
function end(item, source, leaves) {
  const box = element(item);
  if (box.classList.contains("box") && isOpen(box)) {
    const port = position((leaves ? "o" : "i") + item + "." + source), edge = position(item);
    return [port.x, leaves ? edge.bottom : edge.top];
  }
  const middle = position(item);
  if (box.classList.contains("port")) {
    const edge = position(box.parentElement.parentElement.id);
    return [middle.x, item[0] === "i" ? edge.top : edge.bottom];
  }
  return [middle.x, leaves ? middle.bottom : middle.top];
}

// The lower end of an item's row: a link goes sideways below it. `cache` holds the ends of rows by grid.
function rowEnd(item, cache) {
  const cell = element(item), grid = cell.parentElement, row = cell.style.gridRowStart;
  if (!cache.has(grid)) cache.set(grid, new Map());
  const ends = cache.get(grid);
  if (!ends.has(row)) {
    const members = [...grid.children].filter((other) => other.style.gridRowStart === row);
    ends.set(row, Math.max(...members.map((other) => position(other.id).bottom)));
  }
  return ends.get(row);
}

function draw() {
  const paths = [], cache = new Map();
  for (const [grid, links] of Object.entries(facts.links)) {
    const around = element(grid);
    if (around && around.offsetParent === null) continue; // inside of a folded box
    if (grid !== "0" && !isOpen(around)) continue;
    for (const [begin, to, source] of links) {
      const [x0, y0] = end(begin, source, true), [x1, y1] = end(to, source, false);
      const down = Math.max(y0, rowEnd(begin, cache)), bend = (y1 - down) / 2;
      const head = element(to).classList.contains("box") ? ' marker-end="url(#head)"' : "";
      paths.push(`<path d="M${x0} ${y0} V${down} C${x0} ${down + bend} ${x1} ${y1 - bend} ${x1} ${y1}"${head}/>`);
      if (element(to).classList.contains("lane")) {
        const lane = position(to);
        paths.push(`<path d="M${lane.x} ${lane.top} V${lane.bottom}"/>`);
      }
    }
  }
  lines.setAttribute("width", picture.scrollWidth);
  lines.setAttribute("height", picture.scrollHeight);
  lines.querySelector("g").innerHTML = paths.join("");
}

function fold(box, open) {
  box.classList.toggle("open", open);
  box.querySelector(":scope > b > .fold").textContent = open ? "▾" : "▸";
}

// Shows the details of a box beside the picture.
function showDetails(item) {
  for (const box of picture.querySelectorAll(".chosen")) box.classList.remove("chosen");
  element(item).classList.add("chosen");
  const details = facts.details[item], panel = document.querySelector("aside");
  panel.replaceChildren();
  const add = (name, text) => {
    if (!text) return;
    const child = document.createElement(name);
    child.textContent = text;
    panel.append(child);
  };
  add("h2", details.title);
  add("p", details.kind + (details.type ? ", " + details.type : ""));
  add("p", details.location);
  add("pre", details.line);
  add("p", details.work);
  if (details.reads.length) {
    const table = document.createElement("table");
    for (const texts of details.reads) {
      const row = table.insertRow();
      for (const text of texts) row.insertCell().textContent = text;
    }
    panel.append(table);
  }
}

picture.addEventListener("click", (event) => {
  const box = event.target.closest(".box");
  if (!box) return;
  if (event.target.classList.contains("fold")) {
    fold(box, !isOpen(box));
    draw();
  } else showDetails(box.id);
});
picture.addEventListener("dblclick", (event) => {
  const box = event.target.closest(".box.holds");
  if (!box) return;
  fold(box, !isOpen(box));
  draw();
});
for (const [name, open] of [["unfold", true], ["fold", false]])
  document.getElementById(name).addEventListener("click", () => {
    for (const box of picture.querySelectorAll(".holds")) fold(box, open);
    draw();
  });
window.addEventListener("resize", draw);
draw();
// A picture that is wider than the window begins with its first box in the middle.
const first = picture.querySelector(".box");
if (first) first.scrollIntoView({ block: "nearest", inline: "center" });
