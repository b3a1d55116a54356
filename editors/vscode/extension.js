// Starts `netc lsp` for .net files. The server does everything else.
const { workspace, window } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

async function activate(context) {
  context.subscriptions.push(workspace.onDidGrantWorkspaceTrust(() => restart(context)));
  await start(context);
}

async function start(context) {
  const [command, ...args] = workspace.getConfiguration("netc").get("command");
  // in a folder of the extension's own, lest a file called `netc` in the workspace is what starts
  const server = { command, args, options: { cwd: context.extensionPath } };
  client = new LanguageClient("netc", server, {
    documentSelector: [{ language: "net" }],
    initializationOptions: { isTrusted: workspace.isTrusted },
  });
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(`netc: \`${command}\` does not start (${error.message}). Set "netc.command" to where it is.`);
  }
}

async function restart(context) {
  await client?.stop();
  await start(context);
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
