// Starts `netc lsp` for .net files, and nothing else: all that is known of a file, the server knows.
const { workspace, window } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function activate() {
  const [command, ...args] = workspace.getConfiguration("netc").get("command");
  client = new LanguageClient("netc", { command, args }, { documentSelector: [{ language: "net" }] });
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(`netc: \`${command}\` does not start (${error.message}). Set "netc.command" to where it is.`);
  }
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
