// Loads the extension of JupyterLab with stand-ins for its modules, and prints the tokens of each line of a cell.
import { readFileSync } from "node:fs";

globalThis.window = globalThis;
await import(process.argv[2]);
const text = readFileSync(0, "utf-8").trimEnd();
const lines = text.split("\n");
const starts = lines.map((_, i) => lines.slice(0, i).join("\n").length + (i ? 1 : 0));
const doc = { lines: lines.length, line: (n) => ({ from: starts[n - 1], text: lines[n - 1] }) };
class RangeSetBuilder {
  ranges = [];
  add(from, to, mark) {
    this.ranges.push([from, to, mark.class.slice("netc-".length)]);
  }
  finish() {
    return this.ranges;
  }
}
let extension;
const modules = {
  "@jupyterlab/codemirror": {
    IEditorExtensionRegistry: "token",
    EditorExtensionRegistry: { createImmutableExtension: (value) => value },
  },
  "@codemirror/view": { Decoration: { mark: (spec) => spec }, ViewPlugin: { fromClass: (type) => type } },
  "@codemirror/state": { Prec: { highest: (value) => value }, RangeSetBuilder },
};
const container = window._JUPYTERLAB["netc-notebook"];
container.init(Object.fromEntries(Object.entries(modules).map(([name, value]) => [name, { 1: { get: async () => () => value } }])));
const plugin = (await container.get("./extension"))().default;
plugin.activate(null, { addExtension: ({ factory }) => (extension = factory()) });
const ranges = new extension({ state: { doc } }).decorations;
for (let n = 1; n < lines.length; n++) {
  const own = ranges.filter(([from]) => from >= starts[n] && from < starts[n] + lines[n].length);
  console.log(own.map(([from, to, kind]) => `${kind}:${text.slice(from, to)}`).join(" "));
}
