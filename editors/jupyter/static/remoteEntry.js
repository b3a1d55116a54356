// Colours `.net` text in cells of JupyterLab 4 and Notebook 7 that begin with %%net. The words are those of
// dsl/lexer.py; a test compares them. JupyterLab hands over its own modules (`init`), so that nothing is bundled.
(() => {
  const WORDS = {
    hard: ["let", "import", "as", "block", "op", "class", "return", "yield", "scan", "for", "in", "with", "until"],
    choice: ["if", "else", "and", "or", "not"],
    sections: ["data", "model", "train", "study"],
    declared: ["input", "target", "output", "loss", "metric", "watch", "param", "state", "update", "layer"],
    types: ["float", "bool", "class", "int"],
    constants: ["true", "false", "yes", "no", "training"],
  };
  const any = (words) => words.join("|");
  const TOKENS = [
    ["comment", /#.*/y],
    ["string", /"(?:\\.|[^"\\\n])*"/y],
    ["keyword", new RegExp(`(?:${any(WORDS.sections)})(?=[ \\t]*\\{)`, "y")],
    ["type", new RegExp(`(?:${any(WORDS.types)})(?=[ \\t]*[[(])`, "y")],
    ["keyword", new RegExp(`(?:${any([...WORDS.hard, ...WORDS.choice])})\\b`, "y")],
    ["atom", new RegExp(`(?:${any(WORDS.constants)})\\b`, "y")],
    ["number", /(?:\d+(?=\.\.)|\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d[\d_]*(?:[eE][+-]?\d+)?)/y],
    ["operator", /->|\.\.\.?|\*\*|\/\/|[=!<>]=|[-+*/%@<>=]/y],
    ["def", /[\p{L}_][\p{L}\p{N}_]*(?=[ \t]*\()/uy],
    ["variable", /[\p{L}_][\p{L}\p{N}_]*/uy],
    ["variable", /\S/uy],
  ];
  const DECLARATION = new RegExp(`^([ \\t]*)(${any(WORDS.declared)})(?=[ \\t]+[\\p{L}_])`, "u");

  // The tokens of a line: [kind, first, end].
  function* tokens(line) {
    const declaration = DECLARATION.exec(line);
    let at = 0;
    if (declaration) {
      at = declaration[0].length;
      yield ["keyword", declaration[1].length, at];
    }
    while (at < line.length) {
      const token = TOKENS.find(([, pattern]) => {
        pattern.lastIndex = at;
        return pattern.test(line);
      });
      if (token) yield [token[0], at, token[1].lastIndex];
      at = token ? token[1].lastIndex : at + 1;
    }
  }

  let shared;
  const moduleOf = async (name) => {
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  };

  async function plugin() {
    const names = ["@jupyterlab/codemirror", "@codemirror/view", "@codemirror/state"];
    const [editors, { Decoration, ViewPlugin }, { Prec, RangeSetBuilder }] = await Promise.all(names.map(moduleOf));
    const marks = {};
    const mark = (kind) => {
      const style = `color: var(--jp-mirror-editor-${kind}-color, inherit); font-weight: normal`;
      return (marks[kind] ??= Decoration.mark({ class: `netc-${kind}`, attributes: { style } }));
    };
    const decorated = (view) => {
      const builder = new RangeSetBuilder();
      const { doc } = view.state;
      if (/^%%net(?:\s|$)/.test(doc.line(1).text)) {
        for (let number = 2; number <= doc.lines; number++) {
          const { from, text } = doc.line(number);
          for (const [kind, first, end] of tokens(text)) builder.add(from + first, from + end, mark(kind));
        }
      }
      return builder.finish();
    };
    class Colours {
      constructor(view) {
        this.decorations = decorated(view);
      }
      update(change) {
        if (change.docChanged) this.decorations = decorated(change.view);
      }
    }
    // inside of the marks of the language that the notebook has, whose colours would win otherwise
    const extension = Prec.highest(ViewPlugin.fromClass(Colours, { decorations: (value) => value.decorations }));
    const factory = () => editors.EditorExtensionRegistry.createImmutableExtension(extension);
    return {
      id: "netc-notebook:colours",
      autoStart: true,
      requires: [editors.IEditorExtensionRegistry],
      activate: (app, registry) => registry.addExtension({ name: "netc-notebook:colours", factory }),
    };
  }

  const container = {
    init: (scope) => {
      shared = scope;
    },
    get: async () => {
      const value = await plugin();
      return () => ({ __esModule: true, default: value });
    },
  };
  (window._JUPYTERLAB ??= {})["netc-notebook"] = container;
})();
