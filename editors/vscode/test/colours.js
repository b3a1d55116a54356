// `node test/colours.js FILE...` prints each word of the files on a line, with the scope that the grammar gives it in VS Code.
const fs = require("fs");
const path = require("path");
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

const root = path.join(__dirname, "..");
const wasm = fs.readFileSync(path.join(root, "node_modules/vscode-oniguruma/release/onig.wasm"));
const grammar = path.join(root, "syntaxes/net.tmLanguage.json");

async function main(files) {
  await oniguruma.loadWASM(wasm.buffer);
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => textmate.parseRawGrammar(fs.readFileSync(grammar, "utf8"), grammar),
  });
  const net = await registry.loadGrammar("source.net");
  for (const file of files.length ? files : [path.join(root, "../../examples/cmudict.net")]) {
    let stack = textmate.INITIAL;
    for (const line of fs.readFileSync(file, "utf8").split("\n")) {
      const { tokens, ruleStack } = net.tokenizeLine(line, stack);
      stack = ruleStack;
      for (const token of tokens) {
        const text = line.slice(token.startIndex, token.endIndex);
        if (text.trim()) console.log(`${text.trim()}\t${token.scopes.at(-1)}`);
      }
    }
  }
}

main(process.argv.slice(2));
