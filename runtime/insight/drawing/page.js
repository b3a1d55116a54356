// Draws the links between boxes, folds and unfolds, tells what a box is. The browser itself lays out the grids; `facts` holds links and details.
const facts = JSON.parse(document.getElementById("facts").textContent);
const picture = document.getElementById("picture");
const lines = picture.querySelector("svg");
const element = (item) => document.getElementById(item);
const isOpen = (box) => box.classList.contains("open");

function place(item) {
  const frame = picture.getBoundingClientRect(), at = element(item).getBoundingClientRect();
  return { x: (at.left + at.right) / 2 - frame.left, top: at.top - frame.top, bottom: at.bottom - frame.top };
}

// Where a link begins or ends: at a box, at the port of one that is open, at the middle of a lane.
function end(item, source, leaves) {
  const box = element(item);
  if (box.classList.contains("box") && isOpen(box)) {
    const port = place((leaves ? "o" : "i") + item + "." + source), edge = place(item);
    return [port.x, leaves ? edge.bottom : edge.top];
  }
  const at = place(item);
  if (box.classList.contains("port")) {
    const edge = place(box.parentElement.parentElement.id);
    return [at.x, item[0] === "i" ? edge.top : edge.bottom];
  }
  return [at.x, leaves ? at.bottom : at.top];
}

// Where an item's row ends, so that a link goes sideways between rows alone.
function rowEnd(item, known) {
  const one = element(item), key = one.parentElement, row = one.style.gridRowStart;
  if (!known.has(key)) known.set(key, new Map());
  const ends = known.get(key);
  if (!ends.has(row)) {
    const members = [...key.children].filter((other) => other.style.gridRowStart === row);
    ends.set(row, Math.max(...members.map((other) => place(other.id).bottom)));
  }
  return ends.get(row);
}

function draw() {
  const paths = [], known = new Map();
  for (const [grid, links] of Object.entries(facts.links)) {
    const around = element(grid);
    if (around && around.offsetParent === null) continue; // inside of what is folded
    if (grid !== "0" && !isOpen(around)) continue;
    for (const [begin, to, source] of links) {
      const [x0, y0] = end(begin, source, true), [x1, y1] = end(to, source, false);
      const down = Math.max(y0, rowEnd(begin, known)), bend = (y1 - down) / 2;
      const head = element(to).classList.contains("box") ? ' marker-end="url(#head)"' : "";
      paths.push(`<path d="M${x0} ${y0} V${down} C${x0} ${down + bend} ${x1} ${y1 - bend} ${x1} ${y1}"${head}/>`);
      if (element(to).classList.contains("lane")) {
        const lane = place(to);
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

function tell(item) {
  for (const one of picture.querySelectorAll(".chosen")) one.classList.remove("chosen");
  element(item).classList.add("chosen");
  const found = facts.details[item], panel = document.querySelector("aside");
  panel.replaceChildren();
  const add = (name, text) => {
    if (!text) return;
    const made = document.createElement(name);
    made.textContent = text;
    panel.append(made);
  };
  add("h2", found.title);
  add("p", found.kind + (found.type ? ", " + found.type : ""));
  add("p", found.place);
  add("pre", found.line);
  add("p", found.work);
  if (found.reads.length) {
    const table = document.createElement("table");
    for (const row of found.reads) {
      const made = table.insertRow();
      for (const cell of row) made.insertCell().textContent = cell;
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
  } else tell(box.id);
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
