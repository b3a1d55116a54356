// Highlights what has the same key in all plots and tables, while the mouse is over it, or until the next click.
{
const style = document.head.appendChild(document.createElement("style"));
const line = document.body.appendChild(document.createElement("output"));
let pinned = null;

function highlight(key) {
  const chosen = `[data-key="${CSS.escape(key ?? "")}"]`;
  style.textContent = key === null ? "" :
    `.plot:has(${chosen}) [data-key] { opacity: .1 } .plot ${chosen} { opacity: 1 !important }` +
    `.plot ${chosen} path { stroke-width: 3 } tr${chosen}, .line${chosen} { background: var(--line) }` +
    `.source g${chosen} rect { stroke-width: 3 }`;
  line.textContent = key === null ? "" : document.querySelector(`.plot ${chosen} > title`)?.textContent ?? "";
}

const keyOf = (event) => event.target.closest?.("[data-key]")?.dataset.key ?? null;
document.addEventListener("pointerover", (event) => highlight(keyOf(event) ?? pinned));
document.addEventListener("click", (event) => highlight((pinned = keyOf(event))));
}
